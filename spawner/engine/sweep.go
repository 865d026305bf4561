package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// sweep removes what is left over of rollouts that have ended, unless a job runs
// or waits for its turn: that one may go on with what is there.
func (a *actor) sweep() {
	select {
	case <-a.engine.adopted:
	default:
		return // jobs have not been taken up yet
	}
	if a.engine.queue.of(a.name) == nil {
		a.sweepNow()
	}
}

// sweepNow is sweep for who knows that no job goes on with anything. It works
// beside the actor: once no edge sends anything there, and nothing is in flight.
// What cannot be removed now is tried again at the next look at its node.
func (a *actor) sweepNow() {
	strays, version := a.reachable(a.extra), a.version
	if a.job != nil || a.removing || a.sweeping || len(strays) == 0 {
		return
	}
	a.sweeping = true
	a.engine.group.Go(func() {
		err := a.engine.removeStrays(a, strays, version)
		if err != nil && a.engine.life.Err() == nil {
			a.engine.log.Warn("Cannot remove what a rollout left", "service", a.name, "error", err)
			a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Message: fmt.Sprintf("what a rollout left cannot be removed yet: %s", err)})
		}
		a.post(func() { a.sweeping = false })
	})
}

// reachable are the replicas on nodes that answer; the others wait until theirs does.
func (a *actor) reachable(replicas []*replica) []*replica {
	return slices.DeleteFunc(slices.Clone(replicas), func(r *replica) bool { return !a.engine.members.answers(r.node) })
}

func (e *Engine) removeStrays(a *actor, strays []*replica, version uint64) error {
	ctx, cancel := e.background(callTimeout)
	defer cancel()
	if _, err := e.router.Confirmed(ctx, version); err != nil {
		return err
	}
	for _, r := range strays {
		if err := e.removeStray(ctx, a, r); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) removeStray(ctx context.Context, a *actor, r *replica) error {
	if _, err := e.drain(ctx, r); err != nil {
		return err
	}
	if err := r.orderAndWait(e.life, wantGone); err != nil {
		return err
	}
	return a.call(ctx, func() { a.forgetExtra(r) })
}

// drain waits until nothing is in flight at a replica that is off the edge, or
// its limit has passed: a connection that never ends must not hold up a deploy.
func (e *Engine) drain(ctx context.Context, r *replica) (string, error) {
	limited, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for {
		used, err := e.connections(limited, r)
		switch {
		case err != nil && limited.Err() == nil && !e.mayPass(limited, err, r.node):
			return fmt.Sprintf("its connections cannot be listed: %s", err), nil
		case err == nil && len(used) == 0:
			return "", nil
		}
		select {
		case <-time.After(drainPause):
		case <-limited.Done():
			if cause := context.Cause(ctx); cause != nil {
				return "", cause
			}
			if err != nil {
				return fmt.Sprintf("its connections cannot be listed: %s", err), nil
			}
			return fmt.Sprintf("%s stayed open for %s", fleet.Counted(len(used), "connection"), drainLimit), nil
		}
	}
}
