package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"edgespawner/fleet"
)

// failed brings the revision in service back after a rollout failed or was
// canceled, unless that is left to another: to the next process, which takes
// the job up again, or to the remove that took its place.
func (o *rollout) failed(err error) {
	if o.engine.life.Err() != nil || errors.Is(err, errRemoved) || errors.Is(context.Cause(o.ctx), errSuperseded) {
		return
	}
	o.takeBack()
}

// takeBack undoes the swaps, newest first, those that only added or took away
// side by side, and then whatever an earlier process had swapped, so that what
// served before serves again. It goes as far as it can.
func (o *rollout) takeBack() {
	ctx, cancel := o.engine.background(time.Duration(len(o.swaps)+2) * callTimeout)
	defer cancel()
	o.ctx = ctx
	if o.unpresent != nil {
		if err := o.actor.call(ctx, o.unpresent); err != nil {
			return // it was removed
		}
	}
	swaps := slices.Clone(o.swaps)
	slices.Reverse(swaps)
	for len(swaps) > 0 {
		n := max(1, leading(swaps, swap.oneSided))
		if err := abreast(o.run, swaps[:n], swap.node, o.takeBackOne); err != nil {
			return // the next process goes on from what there is
		}
		swaps = swaps[n:]
	}
	o.restore()
}

// takeBackOne undoes a swap. The error is the end of the process alone.
func (o *rollout) takeBackOne(s swap) error {
	name := fleet.ReplicaName(o.actor.name, s.index())
	err := o.step("take back", name, func(ctx context.Context) (string, error) { return "", o.undo(ctx, s) })
	if err != nil && o.engine.life.Err() == nil {
		o.engine.log.Error("Cannot take a replica back", "service", o.actor.name, "replica", name, "error", err)
	}
	return o.engine.life.Err()
}

// undo puts the old replica back in the new one's place, whether it comes up
// again or not: then the actor goes on trying, as with any replica that ended.
func (o *rollout) undo(ctx context.Context, s swap) error {
	var failures []error
	if s.stopFirst && s.new != nil {
		failures = append(failures, o.exchange(s.new, nil), o.withdraw(ctx, s.new, s.old))
	}
	old := s.old
	if old != nil && old.look().state == stateGone {
		old = o.engine.remake(o.actor, old)
	}
	var startErr error
	if old != nil && o.isUp() {
		startErr = old.orderAndWait(ctx, wantUp)
		failures = append(failures, startErr)
	}
	failures = append(failures, o.exchange(s.new, old))
	if startErr != nil {
		failures = append(failures, o.actor.call(ctx, func() { o.actor.keepTrying(old, startErr) }))
	}
	if s.new != nil && !s.stopFirst {
		failures = append(failures, o.withdraw(ctx, s.new, nil))
	}
	return errors.Join(failures...)
}

// isUp says whether the service is awake or on its way to it.
func (o *rollout) isUp() bool {
	up := !o.asleep
	err := o.actor.call(o.engine.life, func() { up = up || o.actor.power != powerAsleep })
	return err == nil && up
}

// keepTrying restarts, with back-off, a replica that a job could not bring up.
func (a *actor) keepTrying(r *replica, err error) {
	switch a.power {
	case powerAwake:
		a.restartLater(r, RestartStartFailed, err)
	case powerWaking:
		a.startFailed(r, err)
	}
}

// withdraw removes a replica that is off the board, once the edges know that and
// its requests have ended. While an edge does not, its address must stay its own:
// then it is only stopped, so that heir can have its ports (nil = needs none).
func (o *rollout) withdraw(ctx context.Context, r, heir *replica) error {
	err := o.confirm(r.name())
	if err == nil {
		if _, err = o.engine.drain(ctx, r); err == nil {
			return o.discard(r)
		}
	}
	rest := wantDeep
	if heir == nil || heir.look().sandbox.id == r.look().sandbox.id {
		rest = wantDown
	}
	return errors.Join(err, r.orderAndWait(ctx, rest))
}

// restore brings every replica to the blueprint in service: a process that was
// ended in the middle of this rollout may have left some of another. Of a
// service that never had one nothing is left.
func (o *rollout) restore() {
	back := &rollout{engine: o.engine, actor: o.actor, run: o.run, ctx: o.ctx, print: o.print, want: o.want, asleep: o.asleep, still: o.still}
	var changes []change
	var stand []standing
	err := o.actor.call(o.ctx, func() {
		a := o.actor
		if a.print != nil {
			back.print, back.want = a.print, a.desired.Replicas
		} else {
			back.want = 0
		}
		stand = a.stand()
		changes = plan(stand, back.want, back.print, false)
	})
	if err == nil {
		back.places, err = o.engine.reserve(stand, changes, back.print, back.want)
	}
	for _, c := range changes {
		if err == nil && c.kind != changeKeep {
			err = back.carryOut(c)
		}
	}
	if err != nil {
		o.engine.log.Error("Cannot bring the revision in service back", "service", o.actor.name, "error", err)
	}
	if back.places != nil {
		back.places.release()
	}
	for _, s := range back.swaps {
		if s.old == nil {
			continue
		}
		if err := o.discard(s.old); err != nil {
			o.engine.log.Error("Cannot remove what was replaced", "service", o.actor.name, "replica", s.old.name(), "error", err)
		}
	}
}
