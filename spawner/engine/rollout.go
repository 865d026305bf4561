package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	places *places // of the new replicas
	// asleep: the service slept when the rollout began; its new replicas are started, probed and put to sleep again.
	asleep bool
	// still: what is down is moved as it is; it is started only if the service wakes meanwhile.
	still     bool
	force     bool             // what is right is replaced too
	job       string           // written on what it makes; empty when it takes back
	made      map[int]*replica // by index: made by a process before, which was ended while it did this very job
	ctx       context.Context  // the job's; of a taking back the engine's, since that goes on when a job is canceled
	unpresent func()           // in the actor: tells the edges of the revision before again; nil = they were not told of another

	mu    sync.Mutex // replicas are added and taken away side by side
	swaps []swap     // done, in order
}

// roll carries out the plan. When it fails, what served before serves again.
func (o *rollout) roll(changes []change) error {
	proven := false // a replica of the blueprint has come up
	for len(changes) > 0 {
		n := 1
		if proven || changes[0].kind == changeRemove {
			n = alike(changes)
		}
		if err := letGo(o, changes[:n], o.nodeOf, o.carryOut); err != nil {
			o.failed(err)
			return err
		}
		proven = proven || o.proves(changes[0])
		changes = changes[n:]
	}
	return nil
}

// letGo is abreast for what ends with the rollout's context: when one fails, those
// under way are let go.
func letGo[T any](o *rollout, list []T, node func(T) string, do func(T) error) error {
	ctx := o.ctx
	defer func() { o.ctx = ctx }()
	var cancel context.CancelCauseFunc
	o.ctx, cancel = context.WithCancelCause(ctx)
	defer cancel(nil)
	return abreast(o.run, list, node, func(item T) error {
		err := do(item)
		if err != nil {
			cancel(fmt.Errorf("another failed before: %w", err))
		}
		return err
	})
}

// proves says whether a replica of the blueprint is up by a change that has been carried out.
func (o *rollout) proves(c change) bool {
	switch c.kind {
	case changeCreate, changeReplace:
		return true
	case changeKeep:
		r, err := o.standing(c.index)
		return err == nil && r != nil && r.look().serves()
	}
	return false
}

// alike is how many of the first changes only add, or only take away: these are
// made side by side. Replacements are made one after another, so that as many
// replicas as there are to be serve all the time.
func alike(changes []change) int {
	kind := changes[0].kind
	return max(1, leading(changes, func(c change) bool {
		return c.kind == kind && (kind == changeCreate || kind == changeRemove)
	}))
}

// nodeOf is where a change makes a new replica, or else takes one away.
func (o *rollout) nodeOf(c change) string {
	if c.made {
		return o.made[c.index].node
	}
	return cmp.Or(o.places.node(c.index), c.node)
}

// step is a step of the job that ends with the rollout's context.
func (o *rollout) step(verb, replica string, do func(ctx context.Context) (detail string, err error)) error {
	if err := context.Cause(o.ctx); err != nil {
		return err
	}
	return o.run.stepWith(o.ctx, verb, replica, do)
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
	if err := o.swapIn(old, fresh, c.stopFirst); err != nil {
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
	if r.look().state == stateUnhealthy {
		return nil // it may still serve; the healing goes on when the job has ended
	}
	if !r.look().serves() && o.engine.members.answers(r.node) {
		err := o.step("start", r.name(), func(ctx context.Context) (string, error) {
			detail, err := o.startUntilReady(ctx, r)
			return o.unlessLost(r, detail, err)
		})
		if err != nil {
			return err
		}
	}
	return o.actor.call(o.ctx, func() { o.actor.becameReady(o.asleep) })
}

// standing returns the replica that serves under an index; nil without an error when there is none.
func (o *rollout) standing(index int) (found *replica, err error) {
	err = o.actor.call(o.ctx, func() {
		for _, r := range o.actor.replicas {
			if r.index == index {
				found = r
			}
		}
	})
	return found, err
}

// bringUp makes a new replica, beside what serves, and waits until it is ready.
// With a sandbox given it joins that one. One that a process before has made
// for this job is gone on with.
func (o *rollout) bringUp(c change, shared *replica, name string) (*replica, error) {
	r := o.made[c.index]
	if !c.made {
		var err error
		if r, err = o.newReplica(c, shared); err != nil {
			return nil, err
		}
	}
	for {
		err := o.make(c, r, name)
		if err == nil {
			return r, nil
		}
		var m *misplaced
		if !errors.As(err, &m) {
			return nil, o.cameToNothing(r, err)
		}
		if r, err = o.goElsewhere(c, r, name, m); err != nil {
			return nil, err
		}
	}
}

// make makes the containers of a replica and starts them. The error is misplaced
// if that failed for its node, and another place is held for it.
func (o *rollout) make(c change, r *replica, name string) error {
	err := o.step("create", name, func(ctx context.Context) (string, error) {
		return r.place.String(), o.blame(c, r, r.orderAndWait(ctx, wantMade))
	})
	if err != nil || o.still {
		return err
	}
	return o.step("start", name, func(ctx context.Context) (string, error) {
		detail, err := o.startUntilReady(ctx, r)
		return detail, o.blame(c, r, err)
	})
}

// cameToNothing removes a replica that could not be brought up, and returns why.
func (o *rollout) cameToNothing(r *replica, why error) error {
	err := o.discard(r)
	if err == nil || !o.engine.members.answers(r.node) { // then it is removed when that answers
		return why
	}
	return fmt.Errorf("%w; %s", why, err)
}

func (o *rollout) newReplica(c change, shared *replica) (*replica, error) {
	place, err := o.places.take(c.index)
	if err != nil {
		return nil, err
	}
	r := o.engine.newReplica(o.actor, c.index, place, o.print, c.publish)
	r.job = o.job
	if shared != nil {
		r.share(shared)
	}
	o.engine.group.Go(func() { r.drive(o.engine.life) })
	return r, o.actor.call(o.engine.life, func() { o.actor.extra = append(o.actor.extra, r) })
}

// startUntilReady starts a replica and waits until it is ready, as long as the
// health check's start period and retries, or wake.max_wait, allow.
func (o *rollout) startUntilReady(ctx context.Context, r *replica) (string, error) {
	limit := r.print.startLimit()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready within %s", limit))
	defer cancel()
	began := time.Now()
	if err := r.orderAndWait(ctx, wantUp); err != nil {
		if v := r.look(); ctx.Err() != nil && v.state == stateStarting {
			return "", fmt.Errorf("%w: %s", err, r.unready())
		}
		return "", err
	}
	took := time.Since(began).Round(time.Millisecond)
	// It may be ready before the engine has answered its start. Nobody waits for
	// a rollout as for a wake: it stands on what is proven.
	if err := r.proven(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("ready after %s", took), nil
}

// discard removes a replica that has come to nothing. What cannot be removed
// now stays in the actor's extra, and is tried again later.
func (o *rollout) discard(r *replica) error {
	ctx, cancel := o.engine.background(r.print.spec.StopGrace.Std() + callTimeout)
	defer cancel()
	if err := r.orderAndWait(ctx, wantGone); err != nil {
		return fmt.Errorf("cannot remove what was left of it: %w", err)
	}
	return o.actor.call(ctx, func() { o.actor.forgetExtra(r) })
}

func (a *actor) forgetExtra(r *replica) {
	a.extra = slices.DeleteFunc(a.extra, func(other *replica) bool { return other == r })
}

// confirm waits until the edges have what was published last.
func (o *rollout) confirm(name string) error {
	var edges int
	return o.confirmCounting(name, &edges)
}

// confirmCounting is confirm, and says how many edges there are.
func (o *rollout) confirmCounting(name string, edges *int) error {
	return o.step("confirm", name, func(ctx context.Context) (string, error) {
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
		return fmt.Sprintf("by %s; lost: %v", fleet.Counted(c.Edges, "edge"), c.Lost)
	}
	return "by " + fleet.Counted(c.Edges, "edge")
}

// drainAndStop lets the requests end that the old replica still has, and stops
// it. It is kept until the rollout has ended.
func (o *rollout) drainAndStop(old *replica, name string) error {
	if !o.engine.members.answers(old.node) {
		return nil // it is off the edges, and removed when its node answers
	}
	err := o.step("drain", name, func(ctx context.Context) (string, error) {
		detail, err := o.engine.drain(ctx, old)
		return o.unlessLost(old, detail, err)
	})
	if err != nil || !o.engine.members.answers(old.node) {
		return err
	}
	return o.step("stop", name, func(ctx context.Context) (string, error) {
		return o.unlessLost(old, "", old.orderAndWait(ctx, wantDown))
	})
}

// unlessLost is the outcome of a step on what stands on a node that may have
// fallen silent meanwhile: its probes decide what becomes of that, not this job.
func (o *rollout) unlessLost(r *replica, detail string, err error) (string, error) {
	if err != nil && context.Cause(o.ctx) == nil && !o.engine.members.answers(r.node) {
		return fmt.Sprintf("node %s does not answer", r.node), nil
	}
	return detail, err
}

// retireIndex takes away a replica that is one too many.
func (o *rollout) retireIndex(c change) error {
	old, err := o.standing(c.index)
	if err != nil || old == nil {
		return err
	}
	if err := o.swapIn(old, nil, false); err != nil {
		return err
	}
	if err := o.drainAndStop(old, old.name()); err != nil || !c.publish {
		return err
	}
	return old.orderAndWait(o.ctx, wantDeep) // gives the host ports free
}

// replaceStopFirst ends the old app before the new one starts. Requests are
// held by the fallback router meanwhile, unless other replicas serve.
func (o *rollout) replaceStopFirst(c change, old *replica, name string) error {
	if err := o.swapIn(old, nil, true); err != nil {
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
		if err := old.orderAndWait(o.ctx, wantDeep); err != nil { // gives the host ports free
			return err
		}
	}
	if o.print.spec.Direct {
		if err := o.discard(old); err != nil { // gives the exact name free
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
	if err := o.confirm(name); err != nil {
		return err
	}
	if !o.still && !fresh.look().serves() {
		return endedBefore(fresh)
	}
	return nil
}
