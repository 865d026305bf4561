package engine

import (
	"context"
	"errors"
)

// Park takes no job any more and begins no step. A step that changes containers
// comes to its end; one that only waits is left as it is; and every job stays
// stored as it is, for the next process to go on with. The channel closes when
// no job is at work any more. What Run's end meets at work, it cuts off.
func (e *Engine) Park() <-chan struct{} {
	q := e.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.parking)
		q.quietLocked()
	}
	return q.quiet
}

// quietLocked closes quiet once nothing is at work in a queue that is parked.
func (q *queue) quietLocked() {
	if q.closed && q.working == 0 && !q.isQuiet {
		q.isQuiet = true
		close(q.quiet)
	}
}

// begins says whether a job may begin: not in a queue that is parked.
func (q *queue) begins(run *jobRun) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	run.atWork = true
	q.working++
	return true
}

// leaves notes that a job does nothing any more.
func (q *queue) leaves(run *jobRun) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leavesLocked(run)
}

func (q *queue) leavesLocked(run *jobRun) {
	if run.atWork && !run.parked {
		run.parked = true
		q.working--
		q.quietLocked()
	}
}

func (q *queue) isParked() bool {
	select {
	case <-q.parking:
		return true
	default:
		return false
	}
}

// rest is where a job waits for the end of the process once the queue is
// parked: whatever it would do next is the next process's. Nil = it goes on.
func (q *queue) rest(run *jobRun) error {
	if !q.isParked() {
		return nil
	}
	q.mu.Lock()
	run.resting++
	q.leavesAtRestLocked(run)
	q.mu.Unlock()
	<-q.engine.life.Done()
	return errShutdown
}

// leavesAtRestLocked notes that a job does nothing any more if all that it has
// under way side by side rests.
func (q *queue) leavesAtRestLocked(run *jobRun) {
	if run.resting > 0 && run.resting >= run.abreast {
		q.leavesLocked(run)
	}
}

var errParked = errors.New("the queue is parked")

// untilParked is a context that ends when the queue is parked, too.
func (q *queue) untilParked(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	q.engine.group.Go(func() {
		select {
		case <-q.parking:
			cancel(errParked)
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil) }
}
