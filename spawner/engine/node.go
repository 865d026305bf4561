package engine

import (
	"context"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// joinPatience is how long a node that has joined is waited for, so that a deploy
// which comes next may use it.
const joinPatience = 5 * time.Second

// AddNode follows a node from now on, and returns when it may get replicas, or
// after joinPatience: one that is silent now is taken up when it answers. The
// error is Invalid for a name that is followed already.
func (e *Engine) AddNode(ctx context.Context, node fleet.Node) error {
	select {
	case <-e.adopted:
	case <-e.life.Done():
		return errShutdown
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := e.join(node, nil); err != nil {
		return err
	}
	m, ok := e.members.get(node.Name)
	if !ok {
		return nil // it has been removed at once
	}
	patience := time.NewTimer(joinPatience)
	defer patience.Stop()
	select {
	case <-m.met:
	case <-m.ended:
	case <-patience.C:
	case <-ctx.Done(): // it is followed all the same
	}
	return nil
}

// RemoveNode stops following a node. Conflict while replicas are there, unless
// force: then they are moved if the node answers, and what cannot be moved is
// given up there with its volumes and placed elsewhere: at once, or, of what fits
// nowhere now, when something fits again. Conflict, too, when without force
// something is there by now that fits nowhere else.
func (e *Engine) RemoveNode(ctx context.Context, name string, force bool) error {
	m, ok := e.members.get(name)
	if !ok {
		return unknownNode(name)
	}
	n := e.ledger.count()[name]
	if n > 0 && !force {
		return fleet.Errorf(fleet.Conflict, "node %s has %s: drain it first", name, fleet.Counted(n, "replica"))
	}
	if n > 0 && e.members.answers(name) {
		if err := e.drainFirst(ctx, m); err != nil {
			return err
		}
	}
	m.setRemoved(true)
	if err := e.evict(ctx, name, force); err != nil {
		m.setRemoved(false)
		return err
	}
	return e.unfollow(ctx, m)
}

// drainFirst moves what can be moved; what cannot is no error here. The node drains
// for that long only, unless it did before: nobody has stored that it does. With an
// error the drain that was begun for it ends, too.
func (e *Engine) drainFirst(ctx context.Context, m *member) error {
	before := m.look().Draining
	defer func() { m.setDraining(before) }()
	if err := e.DrainNode(ctx, m.name); err != nil {
		return err
	}
	run := e.queue.drainOf(m.name)
	if run == nil {
		return nil
	}
	_, err := e.WaitJob(ctx, run.id)
	if err != nil && !before {
		e.queue.endDrains(m.name, "is not removed: who asked for that has left")
	}
	return err
}

// evict places elsewhere whatever stands on a node, and forgets what is left there.
func (e *Engine) evict(ctx context.Context, node string, force bool) error {
	for _, a := range e.actorList() {
		if run := e.queue.of(a.name); run != nil { // it may be about to put something there
			if _, err := e.WaitJob(ctx, run.id); err != nil {
				return err
			}
		}
		var left []*replica
		var refused error
		err := a.call(ctx, func() { left, refused = a.leaveNode(node, force) })
		if err != nil && fleet.KindOf(err) != fleet.NotFound {
			return err
		}
		if refused != nil {
			return refused
		}
		for _, r := range left {
			if !e.members.answers(node) || r.orderAndWait(ctx, wantGone) != nil {
				r.abandon()
				if err := e.addresses.Release(ctx, r.node+"/"+r.look().sandbox.name); err != nil {
					return fmt.Errorf("cannot release the addresses of %s: %w", r.name(), err)
				}
			}
		}
	}
	return nil
}

// unfollow ends a node's follower.
func (e *Engine) unfollow(ctx context.Context, m *member) error {
	m.stop()
	select {
	case <-m.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	e.changeState(m, func() { e.members.dropLocked(m.name) }) // of those that are left most may answer
	return nil
}

// DrainNode lets nothing new on a node, and has what is there moved away.
func (e *Engine) DrainNode(ctx context.Context, name string) error {
	m, ok := e.members.get(name)
	if !ok {
		return unknownNode(name)
	}
	m.setDraining(true)
	if e.ledger.count()[name] == 0 || e.queue.drainOf(name) != nil {
		return nil
	}
	job := newJob(fleet.JobDrain, "", "the drain of node "+name)
	job.Node = name
	return e.submit(ctx, job)
}

// ResumeNode lets new replicas on a node, and ends a drain of it that is under way.
func (e *Engine) ResumeNode(_ context.Context, name string) error {
	m, ok := e.members.get(name)
	if !ok {
		return unknownNode(name)
	}
	m.setDraining(false)
	e.queue.endDrains(name, "was resumed")
	for _, a := range e.actorsOn(name) {
		a.post(func() {
			if len(a.replicas) >= a.desired.Replicas { // it had no place to be moved to, and need not
				a.notePlaced(nil)
			}
		})
	}
	return nil
}

// drainOf returns the drain of the node that waits or runs; nil = there is none.
func (q *queue) drainOf(node string) *jobRun {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, run := range q.byID {
		if run.kind() == fleet.JobDrain && run.job.Node == node && !run.hasEnded() {
			return run
		}
	}
	return nil
}

// endDrains cancels the drain of a node and the moves that it has asked for; why
// says what has become of the node.
func (q *queue) endDrains(node, why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, run := range q.byID {
		if run.job.Node == node && (run.kind() == fleet.JobDrain || run.kind() == fleet.JobMove) {
			q.dropLocked(run, fmt.Errorf("%w: node %s %s", errCanceled, node, why))
		}
	}
}

func unknownNode(name string) error {
	return fleet.Errorf(fleet.NotFound, "there is no node %q", name)
}
