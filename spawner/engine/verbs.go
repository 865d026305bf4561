package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// Scale changes the number of replicas that are wanted.
func (e *Engine) Scale(ctx context.Context, name string, replicas int, by string) (fleet.Accepted, error) {
	if replicas < 0 || replicas > fleet.MaxReplicas {
		return fleet.Accepted{}, fleet.InvalidField("replicas", "%d is not between 0 and %d", replicas, fleet.MaxReplicas)
	}
	job := newJob(fleet.JobScale, name, by)
	job.Replicas = replicas
	return e.accept(ctx, job, func(a *actor) error {
		if a.newest != nil && a.newest.Direct && replicas > 1 {
			return fleet.InvalidField("replicas", "a direct instance has one replica, not %d", replicas)
		}
		return nil
	})
}

// Restart replaces every replica by a new one of the same revision.
func (e *Engine) Restart(ctx context.Context, name, by string) (fleet.Accepted, error) {
	return e.accept(ctx, newJob(fleet.JobRestart, name, by), (*actor).deployed)
}

// Remove takes the service away: its route, its containers and what is stored
// of it but jobs and events. It cancels whatever else goes on.
func (e *Engine) Remove(ctx context.Context, name, by string) (fleet.Accepted, error) {
	return e.remove(ctx, newJob(fleet.JobRemove, name, by))
}

// RemoveWithVolumes removes the service and the volumes that it uses, as far as
// this fleet has made them and no other service uses them.
func (e *Engine) RemoveWithVolumes(ctx context.Context, name, by string) (fleet.Accepted, error) {
	job := newJob(fleet.JobRemove, name, by)
	job.Force = true
	return e.remove(ctx, job)
}

func (e *Engine) remove(ctx context.Context, job fleet.Job) (fleet.Accepted, error) {
	return e.accept(ctx, job, func(a *actor) error {
		if a.removing && a.job != nil { // one that failed may be asked for again
			return fleet.Errorf(fleet.Conflict, "%s is being removed already", a.name)
		}
		return nil
	})
}

// Wake brings a sleeping service up.
func (e *Engine) Wake(ctx context.Context, name, by string) (fleet.Accepted, error) {
	return e.accept(ctx, newJob(fleet.JobWake, name, by), (*actor).deployed)
}

// Sleep puts a service to sleep once nothing is in flight.
func (e *Engine) Sleep(ctx context.Context, name, by string) (fleet.Accepted, error) {
	return e.accept(ctx, newJob(fleet.JobSleep, name, by), func(a *actor) error {
		if a.job != nil {
			return fleet.Errorf(fleet.Conflict, "%s cannot sleep while its job %s (%s) runs", a.name, a.job.ID, a.job.Kind)
		}
		return a.deployed()
	})
}

// deployed refuses what needs a revision in service.
func (a *actor) deployed() error {
	if a.print == nil {
		return fleet.Errorf(fleet.Conflict, "%s has never been deployed successfully", a.name)
	}
	return nil
}

// accept stores a job about an existing service and hands it to the queue.
func (e *Engine) accept(ctx context.Context, job fleet.Job, check func(*actor) error) (fleet.Accepted, error) {
	a, ok := e.actor(job.Service)
	if !ok {
		return fleet.Accepted{}, unknown(job.Service)
	}
	if err := e.queue.reserve(job); err != nil {
		return fleet.Accepted{}, err
	}
	defer e.queue.release()
	if job.Kind == fleet.JobRemove { // a deploy is accepted before it, or refused
		e.accepting.Lock()
		defer e.accepting.Unlock()
	}
	var refused error
	err := a.call(ctx, func() {
		if refused = check(a); refused == nil && a.removing && job.Kind != fleet.JobRemove {
			refused = fleet.Errorf(fleet.Conflict, "%s is being removed", a.name)
		}
	})
	if err != nil {
		return fleet.Accepted{}, err
	}
	if refused != nil {
		return fleet.Accepted{}, refused
	}
	if err := e.submit(ctx, job); err != nil {
		return fleet.Accepted{}, err
	}
	return fleet.Accepted{Service: job.Service, JobID: job.ID}, nil
}

// submit stores a job and hands it to the queue.
func (e *Engine) submit(ctx context.Context, job fleet.Job) error {
	if err := e.jobs.Add(ctx, job); err != nil {
		return fmt.Errorf("cannot store the job: %w", err)
	}
	e.recordAccepted(job)
	e.queue.add(job)
	return nil
}

func (e *Engine) recordAccepted(job fleet.Job) {
	message := fmt.Sprintf("%s of %s accepted, asked for by %s", job.Kind, job.Subject(), job.By)
	if job.Revision != 0 {
		message = fmt.Sprintf("%s of %s revision %d accepted, asked for by %s", job.Kind, job.Service, job.Revision, job.By)
	}
	e.record(fleet.Event{Type: eventTypeOf(job.Kind), Service: job.Service, Message: message, By: job.By})
}

// runJob carries a job out, to its end.
func (e *Engine) runJob(run *jobRun) error {
	job := run.copy()
	switch job.Kind {
	case fleet.JobDrain:
		return e.runDrain(run)
	case fleet.JobRebalance:
		return e.runRebalance(run)
	}
	a, ok := e.actor(job.Service)
	switch {
	case !ok && job.Kind == fleet.JobRemove:
		return nil // the process before ended between the last thing that it removed and the end of the job
	case !ok:
		return unknown(job.Service)
	}
	switch job.Kind {
	case fleet.JobWake:
		return e.runWake(run, a)
	case fleet.JobSleep:
		return e.runSleep(run, a)
	}
	if err := a.call(run.ctx, func() { a.job = &job; a.publish() }); err != nil {
		return err
	}
	var err error
	switch job.Kind {
	case fleet.JobDeploy, fleet.JobRollback:
		err = e.runDeploy(run, a)
	case fleet.JobScale:
		err = e.runRollout(run, a, func(*blueprint) int { return job.Replicas }, false)
	case fleet.JobRestart:
		err = e.runRollout(run, a, nil, true)
	case fleet.JobMove:
		err = e.runMove(run, a)
	case fleet.JobRemove:
		err = e.runRemove(run, a)
	default:
		err = fmt.Errorf("there is no job of kind %q", job.Kind)
	}
	a.post(func() { a.endJob(err) })
	return err
}

// endJob lets the service be what it is without its job.
func (a *actor) endJob(err error) {
	a.job = nil
	if a.removing {
		return // it is gone, or a remove that failed may be asked for again
	}
	if a.print == nil && err != nil {
		a.failure = fleet.Errorf(fleet.Unavailable, "%s has never been deployed successfully: %s", a.name, err)
		a.power = powerFailed
		a.answerAll(answer{err: a.failure})
	}
	switch a.power {
	case powerWaking: // a request came between an old replica and a new one
		a.startAll()
	case powerAwake:
		a.mend()
	}
	a.publish()
	a.relocateLost()
	a.scheduleIdle()
	if !a.engine.queue.awaits(a.name) {
		a.sweepNow()
	}
}

func (e *Engine) runWake(run *jobRun, a *actor) error {
	return run.step("wake", "", func(ctx context.Context) (string, error) {
		began := time.Now()
		_, err := e.WakeForRequest(ctx, a.name, "asked for by "+run.job.By)
		return fmt.Sprintf("ready after %s", time.Since(began).Round(time.Millisecond)), err
	})
}

func (e *Engine) runSleep(run *jobRun, a *actor) error {
	return run.step("sleep", "", func(ctx context.Context) (string, error) {
		p, err := a.awaitPower(ctx, func() error {
			return a.fallAsleep(a.print.spec.Sleep.Mode, "asked for by "+run.job.By)
		}, power.settled)
		switch {
		case err != nil:
			return "", err
		case p == powerAsleep:
			return "", nil
		}
		return "", a.calledOff(ctx)
	})
}

// calledOff says why a sleep came to nothing.
func (a *actor) calledOff(ctx context.Context) error {
	reason := ""
	if err := a.call(ctx, func() { reason = a.lastSleep }); err != nil {
		return err
	}
	return fleet.Errorf(fleet.Conflict, "%s stays awake: %s", a.name, reason)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// CancelJob cancels a job that waits or runs; what it has done is taken back.
func (e *Engine) CancelJob(ctx context.Context, id, by string) (fleet.Job, error) {
	run, ok := e.queue.find(id)
	if !ok || run.hasEnded() {
		job, err := e.jobs.Get(ctx, id)
		if err != nil {
			return fleet.Job{}, err
		}
		return job, fleet.Errorf(fleet.Conflict, "job %s has ended already: %s", id, job.State)
	}
	if run.kind() == fleet.JobRemove {
		return run.copy(), fleet.Errorf(fleet.Conflict, "a remove cannot be canceled")
	}
	e.log.Info("Canceling job", "job", id, "by", by)
	e.queue.cancel(run, fmt.Errorf("%w by %s", errCanceled, by))
	return e.WaitJob(ctx, id)
}

// WaitJob returns the job at its end, or ctx's error with the job as it is then.
func (e *Engine) WaitJob(ctx context.Context, id string) (fleet.Job, error) {
	run, ok := e.queue.find(id)
	if !ok {
		return e.jobs.Get(ctx, id)
	}
	var err error
	select {
	case <-run.done:
	case <-e.life.Done():
		err = errShutdown
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	job := run.copy()
	if job.State.Ended() {
		return job, nil
	}
	return job, cmp.Or(err, error(errShutdown)) // it goes on in the next process
}

// Job returns a job as it is now.
func (e *Engine) Job(ctx context.Context, id string) (fleet.Job, error) {
	if run, ok := e.queue.find(id); ok {
		return run.copy(), nil
	}
	return e.jobs.Get(ctx, id)
}

// Jobs returns the newest jobs; service "" = of all services.
func (e *Engine) Jobs(ctx context.Context, service string, limit int) ([]fleet.Job, error) {
	return e.jobs.List(ctx, service, false, limit)
}

// Revisions returns a service's revisions, newest first.
func (e *Engine) Revisions(ctx context.Context, name string) ([]fleet.Revision, error) {
	if _, ok := e.actor(name); !ok {
		return nil, unknown(name)
	}
	return e.revisions.Revisions(ctx, name)
}

// rollbackTarget finds the revision to go back to: the one asked for, or the
// newest that succeeded before the one in service.
func rollbackTarget(list []fleet.Revision, inService, number int) (fleet.Revision, error) {
	at := slices.IndexFunc(list, func(r fleet.Revision) bool {
		if number != 0 {
			return r.Number == number
		}
		return r.Number < inService && r.Outcome == fleet.OutcomeSucceeded
	})
	switch {
	case at >= 0:
		return list[at], nil
	case number != 0:
		return fleet.Revision{}, fleet.InvalidField("revision", "there is no revision %d", number)
	}
	return fleet.Revision{}, fleet.Errorf(fleet.Conflict, "there is no earlier revision that succeeded")
}
