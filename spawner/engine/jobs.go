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
	errShutdown   = &fleet.Error{Kind: fleet.Unavailable, Message: "the spawner is being shut down", RetryAfter: shutdownRetryAfter}
	errCanceled   = fleet.Errorf(fleet.Conflict, "it was canceled")
	errSuperseded = fleet.Errorf(fleet.Conflict, "a newer deploy took its place")
)

// What a client is told to wait.
const (
	queueRetryAfter    = 5 * time.Second // while the queue is full
	shutdownRetryAfter = time.Second     // for the next start
)

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
	working  int                  // jobs at work and not parked
	closed   bool                 // nothing is taken, and nothing begins
	isQuiet  bool                 // quiet is closed

	parking chan struct{} // closes with closed
	quiet   chan struct{} // closes when nothing is at work any more after that
}

func newQueue(e *Engine, workers, size int) *queue {
	return &queue{
		engine: e, slots: make(chan struct{}, max(1, workers)), size: size,
		waiting: map[string][]*jobRun{}, running: map[string]*jobRun{}, byID: map[string]*jobRun{},
		parking: make(chan struct{}), quiet: make(chan struct{}),
	}
}

// jobRun is a job in this process.
type jobRun struct {
	engine *Engine
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the job has reached its end state, or the process ends

	id, service, subject, lane string // the job's
	atWork                     bool   // it waits for nothing any more; of the queue
	parked                     bool   // it does nothing any more; of the queue
	abreast                    int    // goroutines that carry out its steps side by side; of the queue
	resting                    int    // of these, or it itself, at rest until the end of the process; of the queue

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
	switch job.Kind {
	case fleet.JobWake, fleet.JobSleep:
		return job.Service + " power"
	case fleet.JobDrain, fleet.JobRebalance: // they wait for jobs of services, so they take no worker
		return job.Subject()
	}
	return job.Service
}

// reserve keeps a place for one more job until release; Busy when there is none.
// Those that it will take the place of do not count, and a wake or a sleep that
// begins at once needs none.
func (q *queue) reserve(job fleet.Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errShutdown
	}
	own := lane(job)
	waiting := q.reserved
	for _, run := range q.byID {
		if !run.atWork && !(run.lane == own && supersedes(job.Kind, run.kind())) {
			waiting++
		}
	}
	atOnce := own != job.Service && q.running[own] == nil
	if free := cap(q.slots) - len(q.slots); waiting >= q.size+free && !atOnce {
		full := fleet.Errorf(fleet.Busy, "the queue is full: as many jobs wait as --queue-size allows (%d)", q.size)
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
	run := &jobRun{engine: q.engine, ctx: ctx, cancel: cancel, done: make(chan struct{}), id: job.ID, service: job.Service, subject: job.Subject(), lane: lane(job), job: job}
	q.mu.Lock()
	defer q.mu.Unlock()
	lane := run.lane
	for _, other := range slices.Clone(q.waiting[lane]) {
		if supersedes(job.Kind, other.kind()) {
			q.dropLocked(other, errSuperseded)
		}
	}
	current := q.running[lane]
	if current != nil && (job.Kind == fleet.JobRemove || !current.atWork && supersedes(job.Kind, current.kind())) {
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

// waits says whether a job of such a kind waits in the service's lane, for its turn or a worker.
func (q *queue) waits(service string, kinds ...fleet.JobKind) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	wanted := func(run *jobRun) bool { return slices.Contains(kinds, run.kind()) && run.ctx.Err() == nil }
	current := q.running[service]
	return slices.ContainsFunc(q.waiting[service], wanted) || current != nil && !current.atWork && wanted(current)
}

// awaits says whether a job waits for its turn in the service's lane.
func (q *queue) awaits(service string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting[service]) > 0
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

// work carries a job out in its turn, and then lets the lane's next one begin.
func (q *queue) work(run *jobRun) {
	if run.lane != run.service {
		q.carryOut(run) // a wake or a sleep: it never waits for others' rollouts
	} else {
		select {
		case q.slots <- struct{}{}:
			q.carryOut(run)
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

// carryOut carries a job out, unless the queue is parked: then it stays queued.
func (q *queue) carryOut(run *jobRun) {
	if q.begins(run) {
		run.execute()
		q.leaves(run)
		return
	}
	<-q.engine.life.Done()
	close(run.done)
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
	if j.engine.life.Err() != nil {
		return // it stays queued
	}
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
	j.engine.observer.JobEnded(job)
	message := fmt.Sprintf("%s of %s %s", job.Kind, job.Subject(), job.State)
	if job.Error != "" {
		message += ": " + job.Error
	}
	j.engine.record(fleet.Event{Type: eventTypeOf(job.Kind), Service: job.Service, Message: message, By: job.By})
}

func eventTypeOf(kind fleet.JobKind) fleet.EventType {
	switch kind {
	case fleet.JobMove, fleet.JobDrain, fleet.JobRebalance:
		return fleet.EventNode
	}
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
	if j.engine.life.Err() != nil {
		return // whatever failed, the next process does it anew
	}
	text := fmt.Sprintf(format, args...)
	j.change(func(job *fleet.Job) { job.Warnings = append(job.Warnings, text) })
	j.engine.record(fleet.Event{Type: fleet.EventWarning, Service: j.job.Service, Message: text, By: j.job.By})
}
