package engine

import (
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
	return e.accept(ctx, newJob(fleet.JobRemove, name, by), func(a *actor) error {
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
	if err := e.queue.room(); err != nil {
		return fleet.Accepted{}, err
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
	if err := e.jobs.Add(ctx, job); err != nil {
		return fleet.Accepted{}, fmt.Errorf("cannot store the job: %w", err)
	}
	e.recordAccepted(job)
	e.queue.add(job)
	return fleet.Accepted{Service: job.Service, JobID: job.ID}, nil
}

func (e *Engine) recordAccepted(job fleet.Job) {
	message := fmt.Sprintf("%s of %s accepted, asked for by %s", job.Kind, job.Service, job.By)
	if job.Revision != 0 {
		message = fmt.Sprintf("%s of %s revision %d accepted, asked for by %s", job.Kind, job.Service, job.Revision, job.By)
	}
	e.record(fleet.Event{Type: eventTypeOf(job.Kind), Service: job.Service, Message: message})
}

// runJob carries a job out, to its end.
func (e *Engine) runJob(run *jobRun) error {
	job := run.copy()
	a, ok := e.actor(job.Service)
	if !ok {
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
	if a.power == powerWaking { // a request came between an old replica and a new one
		a.startAll()
	}
	a.publish()
	a.scheduleIdle()
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
		settled := powerWatcher{met: make(chan power, 1), until: func(p power) bool {
			return p == powerAsleep || p == powerAwake || p == powerWaking || p == powerFailed
		}}
		var refused error
		err := a.call(ctx, func() {
			if refused = a.fallAsleep(a.print.spec.Sleep.Mode, "asked for by "+run.job.By); refused != nil {
				return
			}
			if settled.until(a.power) {
				settled.met <- a.power
				return
			}
			a.watchers = append(a.watchers, settled)
		})
		if err != nil || refused != nil {
			return "", firstError(err, refused)
		}
		select {
		case p := <-settled.met:
			if p == powerAsleep {
				return "", nil
			}
			return "", a.calledOff(ctx)
		case <-a.ended:
			return "", errRemoved
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
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
	if !ok {
		job, err := e.jobs.Get(ctx, id)
		if err != nil {
			return fleet.Job{}, err
		}
		return job, fleet.Errorf(fleet.Conflict, "job %s has ended already: it %s", id, job.State)
	}
	if run.kind() == fleet.JobRemove {
		return run.copy(), fleet.Errorf(fleet.Conflict, "a remove cannot be canceled")
	}
	e.log.Info("Canceling job", "job", id, "by", by)
	run.cancel(fmt.Errorf("%w by %s", errCanceled, by))
	return e.WaitJob(ctx, id)
}

// WaitJob returns the job at its end, or ctx's error with the job as it is then.
func (e *Engine) WaitJob(ctx context.Context, id string) (fleet.Job, error) {
	run, ok := e.queue.find(id)
	if !ok {
		return e.jobs.Get(ctx, id)
	}
	select {
	case <-run.done:
		return run.copy(), nil
	case <-ctx.Done():
		return run.copy(), context.Cause(ctx)
	}
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
