package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// What ends a job's context.
var (
	errShutdown   = fleet.Errorf(fleet.Unavailable, "the spawner is being shut down")
	errCanceled   = fleet.Errorf(fleet.Conflict, "it was canceled")
	errSuperseded = fleet.Errorf(fleet.Conflict, "a newer deploy took its place")
)

// queueRetryAfter is what a client is told to wait while the queue is full.
const queueRetryAfter = 5 * time.Second

// queue holds accepted jobs: those of one service run one after another, those
// of different services side by side, as many as there are workers.
type queue struct {
	engine *Engine
	slots  chan struct{} // one per worker
	size   int           // jobs that may wait

	mu       sync.Mutex
	waiting  map[string][]*jobRun // by lane, in order
	running  map[string]*jobRun   // by lane; it may still wait for a worker
	byID     map[string]*jobRun   // waiting and running
	reserved int                  // places of jobs that are being accepted
	closed   bool
}

func newQueue(e *Engine, workers, size int) *queue {
	return &queue{
		engine: e, slots: make(chan struct{}, max(1, workers)), size: size,
		waiting: map[string][]*jobRun{}, running: map[string]*jobRun{}, byID: map[string]*jobRun{},
	}
}

// jobRun is a job in this process.
type jobRun struct {
	engine *Engine
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the job has reached its end state, or the process ends

	id, service, lane string // the job's
	atWork            bool   // it waits for nothing any more; of the queue

	mu  sync.Mutex
	job fleet.Job
}

func newJob(kind fleet.JobKind, service, by string) fleet.Job {
	var id [8]byte
	rand.Read(id[:]) // never fails, by its documentation
	return fleet.Job{ID: hex.EncodeToString(id[:]), Kind: kind, Service: service, State: fleet.JobQueued, By: by, CreatedAt: time.Now().UTC()}
}

// lane is what jobs run one after another in: the service, and beside it one
// for its wakes and sleeps, which never wait for a rollout.
func lane(job fleet.Job) string {
	if job.Kind == fleet.JobWake || job.Kind == fleet.JobSleep {
		return job.Service + " power"
	}
	return job.Service
}

// reserve keeps a place for one more job until release; Busy when there is none.
func (q *queue) reserve() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errShutdown
	}
	waiting := q.reserved
	for _, run := range q.byID {
		if !run.atWork {
			waiting++
		}
	}
	if free := cap(q.slots) - len(q.slots); waiting >= q.size+free {
		full := fleet.Errorf(fleet.Busy, "%d jobs wait already; that is as many as --queue-size allows", waiting)
		full.RetryAfter = queueRetryAfter
		return full
	}
	q.reserved++
	return nil
}

func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reserved--
}

// add takes in a job that is stored already. A deploy supersedes the deploys
// and rollbacks of its service that wait; a remove everything that waits or runs.
func (q *queue) add(job fleet.Job) *jobRun {
	ctx, cancel := context.WithCancelCause(q.engine.life)
	run := &jobRun{engine: q.engine, ctx: ctx, cancel: cancel, done: make(chan struct{}), id: job.ID, service: job.Service, lane: lane(job), job: job}
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := run.lane
	for _, other := range slices.Clone(q.waiting[lane]) {
		if supersedes(job.Kind, other.kind()) {
			q.dropLocked(other, errSuperseded)
		}
	}
	if current := q.running[lane]; current != nil && job.Kind == fleet.JobRemove {
		current.cancel(errSuperseded)
	}
	q.byID[job.ID] = run
	q.waiting[lane] = append(q.waiting[lane], run)
	q.nextLocked(lane)
	return run
}

// cancel ends a job: at once while it waits, else by its context.
func (q *queue) cancel(run *jobRun, cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropLocked(run, cause)
}

// dropLocked cancels a job and, if it waits, takes it out of its lane, to end by itself.
func (q *queue) dropLocked(run *jobRun, cause error) {
	run.cancel(cause)
	at := slices.Index(q.waiting[run.lane], run)
	if at < 0 {
		return
	}
	q.waiting[run.lane] = slices.Delete(slices.Clone(q.waiting[run.lane]), at, at+1)
	q.engine.spawn(func() {
		run.execute() // it ends at once, honestly
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.byID, run.id)
	})
}

// waits says whether a job of such a kind waits for its turn in the service's lane.
func (q *queue) waits(service string, kinds ...fleet.JobKind) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.waiting[service], func(run *jobRun) bool { return slices.Contains(kinds, run.kind()) })
}

// removes says whether a remove of the service waits or runs.
func (q *queue) removes(service string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, run := range q.byID {
		if run.kind() == fleet.JobRemove && run.service == service && !run.hasEnded() {
			return true
		}
	}
	return false
}

func supersedes(newer, older fleet.JobKind) bool {
	switch newer {
	case fleet.JobRemove:
		return true
	case fleet.JobDeploy, fleet.JobRollback:
		return older == fleet.JobDeploy || older == fleet.JobRollback
	}
	return false
}

// nextLocked starts the lane's next job unless one runs.
func (q *queue) nextLocked(lane string) {
	if q.running[lane] != nil || len(q.waiting[lane]) == 0 {
		return
	}
	run := q.waiting[lane][0]
	q.waiting[lane] = q.waiting[lane][1:]
	q.running[lane] = run
	q.engine.spawn(func() { q.work(run) }) // else the next process takes it up
}

func (q *queue) work(run *jobRun) {
	if run.lane != run.service {
		q.begins(run) // a wake or a sleep: it never waits for others' rollouts
		run.execute()
	} else {
		select {
		case q.slots <- struct{}{}:
			q.begins(run)
			run.execute()
			<-q.slots
		case <-run.ctx.Done():
			run.execute() // it ends at once, honestly
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.running, run.lane)
	delete(q.byID, run.id)
	if len(q.waiting[run.lane]) == 0 {
		delete(q.waiting, run.lane)
	}
	q.nextLocked(run.lane)
}

func (q *queue) begins(run *jobRun) {
	q.mu.Lock()
	defer q.mu.Unlock()
	run.atWork = true
}

func (q *queue) find(id string) (*jobRun, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	run, ok := q.byID[id]
	return run, ok
}

// of returns the service's running job, else the first that waits.
func (q *queue) of(service string) *jobRun {
	q.mu.Lock()
	defer q.mu.Unlock()
	if run := q.running[service]; run != nil && !run.hasEnded() {
		return run
	}
	if waiting := q.waiting[service]; len(waiting) > 0 {
		return waiting[0]
	}
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

func (j *jobRun) kind() fleet.JobKind { return j.job.Kind } // never changed

func (j *jobRun) hasEnded() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// copy returns the job as it is now.
func (j *jobRun) copy() fleet.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	job := j.job
	job.Steps = slices.Clone(j.job.Steps)
	job.Warnings = slices.Clone(j.job.Warnings)
	return job
}

// execute runs the job to its end state. Only the end of the process leaves it
// running, to be taken up again.
func (j *jobRun) execute() {
	defer close(j.done)
	defer j.cancel(nil)
	j.change(func(job *fleet.Job) {
		job.State = fleet.JobRunning
		job.Steps = nil // of a run before a restart: the plan is made anew from what is
		job.StartedAt = time.Now().UTC()
	})
	err := context.Cause(j.ctx)
	if err == nil {
		err = j.engine.runJob(j)
	} else if j.engine.life.Err() == nil {
		j.engine.neverRan(j.copy(), err)
	}
	if j.engine.life.Err() != nil {
		return // also when it was canceled: what it did may not be taken back yet
	}
	j.finish(err)
}

func (j *jobRun) finish(err error) {
	cause := context.Cause(j.ctx)
	j.change(func(job *fleet.Job) {
		job.EndedAt = time.Now().UTC()
		switch {
		case err == nil:
			job.State = fleet.JobSucceeded
		case errors.Is(cause, errCanceled), errors.Is(cause, errSuperseded):
			job.State, job.Error = fleet.JobCanceled, err.Error()
		default:
			job.State, job.Error = fleet.JobFailed, err.Error()
		}
	})
	job := j.copy()
	message := fmt.Sprintf("%s of %s %s", job.Kind, job.Service, job.State)
	if job.Error != "" {
		message += ": " + job.Error
	}
	j.engine.record(fleet.Event{Type: eventTypeOf(job.Kind), Service: job.Service, Message: message})
}

func eventTypeOf(kind fleet.JobKind) fleet.EventType {
	if kind == fleet.JobRollback {
		return fleet.EventDeploy
	}
	return fleet.EventType(kind) // the others are the same word
}

// change changes the job and stores it.
func (j *jobRun) change(f func(*fleet.Job)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.job)
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := j.engine.jobs.Update(ctx, j.job); err != nil {
		j.engine.log.Error("Cannot store a job", "job", j.job.ID, "error", err)
	}
}

func (j *jobRun) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.change(func(job *fleet.Job) { job.Warnings = append(job.Warnings, text) })
	j.engine.record(fleet.Event{Type: fleet.EventWarning, Service: j.job.Service, Message: text})
}

// step runs one step and records it: begun, and how it ended.
func (j *jobRun) step(verb, replica string, do func(ctx context.Context) (detail string, err error)) error {
	if err := context.Cause(j.ctx); err != nil {
		return err
	}
	return j.stepWith(j.ctx, verb, replica, do)
}

// stepWith is step with a context of its own, for what must go on when the job is canceled.
func (j *jobRun) stepWith(ctx context.Context, verb, replica string, do func(ctx context.Context) (detail string, err error)) error {
	at := 0
	j.change(func(job *fleet.Job) {
		at = len(job.Steps)
		job.Steps = append(job.Steps, fleet.Step{Verb: verb, Replica: replica, State: fleet.JobRunning, StartedAt: time.Now().UTC()})
	})
	detail, err := do(ctx)
	j.change(func(job *fleet.Job) {
		step := &job.Steps[at]
		step.EndedAt = time.Now().UTC()
		step.State, step.Detail = fleet.JobSucceeded, detail
		if err != nil {
			step.State, step.Detail = fleet.JobFailed, err.Error()
		}
	})
	subject := replica
	if subject == "" {
		subject = j.job.Service
	}
	message := fmt.Sprintf("%s %s", verb, subject)
	if detail != "" {
		message += ": " + detail
	}
	if err != nil {
		message = fmt.Sprintf("%s %s failed: %s", verb, subject, err)
	}
	j.engine.record(fleet.Event{Type: fleet.EventStep, Service: j.job.Service, Container: replica, Message: message})
	return err
}
