package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// rollout brings a service to a blueprint, replica by replica, and back if that fails.
type rollout struct {
	engine *Engine
	actor  *actor
	run    *jobRun
	print  *blueprint
	want   int
	node   func(index int) string // where a new replica is placed
	// asleep: the service slept when the rollout began; its new replicas are started, probed and put to sleep again.
	asleep bool
	swaps  []swap // done, in order
}

// swap is one replica in another's place. Old or new is nil where there is none.
type swap struct{ old, new *replica }

// roll carries out the plan. When it fails, what served before serves again.
func (o *rollout) roll(changes []change) error {
	for _, c := range changes {
		if err := o.carryOut(c); err != nil {
			if errors.Is(context.Cause(o.run.ctx), errShutdown) || errors.Is(err, errRemoved) {
				return err
			}
			o.takeBack()
			return err
		}
	}
	return nil
}

func (o *rollout) carryOut(c change) error {
	name := fleet.ReplicaName(o.actor.name, c.index)
	switch c.kind {
	case changeKeep:
		return o.keep(c)
	case changeRemove:
		return o.retireIndex(c)
	}
	old, err := o.standing(c.index)
	if err != nil {
		return err
	}
	if c.stopFirst && old != nil {
		return o.replaceStopFirst(c, old, name)
	}
	fresh, err := o.bringUp(c, nil, name)
	if err != nil {
		return err
	}
	if err := o.swapIn(old, fresh, name); err != nil {
		return err
	}
	if old != nil {
		return o.drainAndStop(old, name)
	}
	return nil
}

// keep puts a replica that is right as it is back where it should be: up in a service that is awake.
func (o *rollout) keep(c change) error {
	if o.asleep {
		return nil
	}
	r, err := o.standing(c.index)
	if err != nil || r == nil {
		return err
	}
	if v := r.look(); v.state == stateReady {
		return nil
	}
	name := r.name()
	if err := o.run.step("start", name, func(ctx context.Context) (string, error) { return o.startUntilReady(ctx, r) }); err != nil {
		return err
	}
	return o.actor.call(o.run.ctx, o.actor.becameReady)
}

// standing returns the replica that serves under an index; nil without an error when there is none.
func (o *rollout) standing(index int) (found *replica, err error) {
	err = o.actor.call(o.run.ctx, func() {
		for _, r := range o.actor.replicas {
			if r.index == index {
				found = r
			}
		}
	})
	return found, err
}

// bringUp makes a new replica, beside what serves, and waits until it is ready.
// With a sandbox given it joins that one.
func (o *rollout) bringUp(c change, shared *replica, name string) (*replica, error) {
	node := o.node(c.index)
	if shared != nil {
		node = shared.node
	}
	r := o.engine.newReplica(o.actor, c.index, node, o.print, c.publish)
	if shared != nil {
		r.share(shared)
	}
	if err := o.actor.call(o.run.ctx, func() { o.actor.extra = append(o.actor.extra, r) }); err != nil {
		return nil, err
	}
	o.engine.group.Go(func() { r.drive(o.engine.life) })
	err := o.run.step("create", name, func(ctx context.Context) (string, error) {
		return "on node " + node, r.orderAndWait(ctx, wantMade)
	})
	if err == nil {
		err = o.run.step("start", name, func(ctx context.Context) (string, error) { return o.startUntilReady(ctx, r) })
	}
	if err != nil {
		return nil, errors.Join(err, o.discard(r))
	}
	return r, nil
}

// startUntilReady starts a replica and waits until it is ready, as long as the
// health check's start period and retries, or wake.max_wait, allow.
func (o *rollout) startUntilReady(ctx context.Context, r *replica) (string, error) {
	check := r.print.check
	limit := max(check.StartPeriod.Std()+time.Duration(check.Retries)*(check.Interval+check.Timeout).Std(), o.print.spec.Wake.MaxWait.Std())
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready within %s", limit))
	defer cancel()
	began := time.Now()
	if err := r.orderAndWait(ctx, wantUp); err != nil {
		if v := r.look(); ctx.Err() != nil && v.state == stateStarting {
			return "", fmt.Errorf("%w: its %s check has not succeeded", err, check.Type)
		}
		return "", err
	}
	return fmt.Sprintf("ready after %s", time.Since(began).Round(time.Millisecond)), nil
}

// discard removes a replica that has come to nothing.
func (o *rollout) discard(r *replica) error {
	ctx, cancel := o.engine.background(callTimeout)
	defer cancel()
	err := r.orderAndWait(ctx, wantGone)
	callErr := o.actor.call(ctx, func() {
		o.actor.extra = slices.DeleteFunc(o.actor.extra, func(other *replica) bool { return other == r })
	})
	if err != nil {
		return fmt.Errorf("cannot remove what was left of it: %w", err)
	}
	return callErr
}

// swapIn puts the new replica in the old one's place, in one document for the
// edges, and waits until they have it.
func (o *rollout) swapIn(old, fresh *replica, name string) error {
	if err := o.exchange(old, fresh); err != nil {
		return err
	}
	o.swaps = append(o.swaps, swap{old, fresh})
	return o.confirm(o.run.ctx, name)
}

// exchange is the swap itself: nil for old adds, nil for fresh takes away.
func (o *rollout) exchange(old, fresh *replica) error {
	return o.actor.call(o.engine.life, func() { o.actor.exchange(old, fresh, o.asleep) })
}

func (a *actor) exchange(old, fresh *replica, asleep bool) {
	if old != nil {
		old.stopWatchingHealth()
		a.replicas = slices.DeleteFunc(a.replicas, func(r *replica) bool { return r == old })
		a.extra = append(a.extra, old)
	}
	if fresh != nil {
		a.extra = slices.DeleteFunc(a.extra, func(r *replica) bool { return r == fresh })
		a.replicas = append(a.replicas, fresh)
		slices.SortFunc(a.replicas, func(x, y *replica) int { return x.index - y.index })
	}
	a.noteDown()
	if fresh != nil && !asleep && (a.power == powerAsleep || a.power == powerFailed) {
		a.transition(eventRequest) // a first deploy, or one of a service that had ended
	}
	a.becameReady()
}

// becameReady lets the service go on with a replica that a job has made ready.
func (a *actor) becameReady() {
	a.noteDown()
	for _, r := range a.replicas {
		if r.look().state == stateReady && a.power != powerAsleep {
			r.watchHealth()
			a.transition(eventReady)
			return
		}
	}
	a.publish()
}

// confirm waits until the edges have what was published last.
func (o *rollout) confirm(ctx context.Context, name string) error {
	var edges int
	return o.confirmCounting(ctx, name, &edges)
}

// confirmCounting is confirm, and says how many edges there are.
func (o *rollout) confirmCounting(ctx context.Context, name string, edges *int) error {
	return o.run.stepWith(ctx, "confirm", name, func(ctx context.Context) (string, error) {
		var version uint64
		if err := o.actor.call(ctx, func() { version = o.actor.version }); err != nil {
			return "", err
		}
		c, err := o.engine.router.Confirmed(ctx, version)
		if err != nil {
			return "", fmt.Errorf("the edges did not take the route: %w", err)
		}
		*edges = c.Edges
		return confirmed(c), nil
	})
}

func confirmed(c fleet.Confirmation) string {
	switch {
	case c.Edges == 0 && len(c.Lost) == 0:
		return "no edge is connected"
	case len(c.Lost) > 0:
		return fmt.Sprintf("by %d edges; lost: %v", c.Edges, c.Lost)
	case c.Edges == 1:
		return "by 1 edge"
	}
	return fmt.Sprintf("by %d edges", c.Edges)
}

// drainAndStop lets the requests end that the old replica still has, and stops
// it. It is kept until the rollout has ended.
func (o *rollout) drainAndStop(old *replica, name string) error {
	err := o.run.step("drain", name, func(ctx context.Context) (string, error) { return o.drain(ctx, old) })
	if err != nil {
		return err
	}
	return o.run.step("stop", name, func(ctx context.Context) (string, error) {
		return "", old.orderAndWait(ctx, wantDown)
	})
}

// drain waits until nothing is in flight at a replica that is off the edge, or
// its limit has passed: a connection that never ends must not hold up a deploy.
func (o *rollout) drain(ctx context.Context, r *replica) (string, error) {
	limited, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for {
		used, err := o.engine.connections(limited, r)
		switch {
		case err != nil && limited.Err() == nil:
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
			return fmt.Sprintf("%d connections stayed open for %s", len(used), drainLimit), nil
		}
	}
}

// retireIndex takes away a replica that is one too many.
func (o *rollout) retireIndex(c change) error {
	old, err := o.standing(c.index)
	if err != nil || old == nil {
		return err
	}
	if err := o.swapIn(old, nil, old.name()); err != nil {
		return err
	}
	return o.drainAndStop(old, old.name())
}

// replaceStopFirst ends the old app before the new one starts. Requests are
// held by the fallback router meanwhile, unless other replicas serve.
func (o *rollout) replaceStopFirst(c change, old *replica, name string) error {
	if err := o.swapIn(old, nil, name); err != nil {
		return err
	}
	if err := o.drainAndStop(old, name); err != nil {
		return err
	}
	var shared *replica
	switch {
	case c.inPlace:
		shared = old
	case old.publish && c.publish:
		if err := old.orderAndWait(o.run.ctx, wantDeep); err != nil { // gives the host ports free
			return err
		}
	}
	if o.print.spec.Direct {
		if err := old.orderAndWait(o.run.ctx, wantGone); err != nil { // gives the exact name free
			return err
		}
	}
	fresh, err := o.bringUp(c, shared, name)
	if err != nil {
		return err
	}
	if err := o.exchange(nil, fresh); err != nil {
		return err
	}
	o.swaps[len(o.swaps)-1].new = fresh
	return o.confirm(o.run.ctx, name)
}

// takeBack undoes the swaps, newest first, so that what served before serves again.
func (o *rollout) takeBack() {
	ctx, cancel := o.engine.background(time.Duration(len(o.swaps)+1) * callTimeout)
	defer cancel()
	for _, s := range slices.Backward(o.swaps) {
		name := fleet.ReplicaName(o.actor.name, indexOf(s))
		err := o.run.stepWith(ctx, "take back", name, func(ctx context.Context) (string, error) { return "", o.undo(ctx, s) })
		if err != nil {
			o.engine.log.Error("Cannot take a replica back", "service", o.actor.name, "replica", name, "error", err)
		}
	}
	o.swaps = nil
}

func indexOf(s swap) int {
	if s.old != nil {
		return s.old.index
	}
	return s.new.index
}

func (o *rollout) undo(ctx context.Context, s swap) error {
	if s.old != nil && s.old.look().state == stateGone {
		s.old = o.engine.remake(o.actor, s.old)
	}
	if s.old != nil && s.new != nil && s.new.look().sandbox.id == s.old.look().sandbox.id {
		if err := s.new.orderAndWait(ctx, wantDown); err != nil { // they share one sandbox and its ports
			return err
		}
	}
	if s.old != nil && !o.asleep {
		if err := s.old.orderAndWait(ctx, wantUp); err != nil {
			return err
		}
	}
	if err := o.exchange(s.new, s.old); err != nil {
		return err
	}
	if s.new == nil {
		return nil
	}
	if err := o.confirm(ctx, s.new.name()); err != nil {
		return err
	}
	if _, err := o.drain(ctx, s.new); err != nil {
		return err
	}
	return o.discard(s.new)
}
