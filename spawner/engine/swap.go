package engine

import (
	"cmp"
	"context"
	"slices"

	"edgespawner/fleet"
)

// swap is one replica in another's place. Old or new is nil where there is none.
type swap struct {
	old, new  *replica
	stopFirst bool // the two must not run side by side
}

func (s swap) index() int { return cmp.Or(s.old, s.new).index }

func (s swap) node() string { return cmp.Or(s.old, s.new).node }

// oneSided says whether the swap only added a replica or only took one away.
func (s swap) oneSided() bool { return s.old == nil || s.new == nil }

// swapIn puts the new replica in the old one's place, in one document for the
// edges, and waits until they have it. One that did not live so long fails it.
func (o *rollout) swapIn(old, fresh *replica, stopFirst bool) error {
	if err := o.exchangeStill(old, fresh); err != nil {
		return err
	}
	if !o.still {
		if fresh != nil && !fresh.look().serves() {
			return o.cameToNothing(fresh, endedBefore(fresh))
		}
		if err := o.exchange(old, fresh); err != nil {
			return err
		}
	}
	s := swap{old, fresh, stopFirst}
	o.noteSwap(s)
	if err := o.confirm(fleet.ReplicaName(o.actor.name, s.index())); err != nil {
		return err
	}
	if fresh != nil && !o.still && !fresh.look().serves() && (old != nil || o.engine.members.answers(fresh.node)) {
		return endedBefore(fresh) // one that only came, and was lost with its node, is placed elsewhere when the job has ended
	}
	return nil
}

func (o *rollout) noteSwap(s swap) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.swaps = append(o.swaps, s)
}

// exchangeStill swaps replicas of a service that rests. If it has been woken
// meanwhile, the new one is started instead, as in any rollout from then on.
func (o *rollout) exchangeStill(old, fresh *replica) error {
	if !o.still {
		return nil
	}
	rests := false
	err := o.actor.call(o.engine.life, func() {
		if rests = o.actor.isAtRest(); rests {
			o.actor.exchange(old, fresh, true)
		}
	})
	if err != nil || rests {
		return err
	}
	o.still, o.asleep = false, false
	if fresh == nil {
		return nil
	}
	err = o.step("start", fresh.name(), func(ctx context.Context) (string, error) { return o.startUntilReady(ctx, fresh) })
	if err != nil {
		return o.cameToNothing(fresh, err)
	}
	return nil
}

func endedBefore(r *replica) error {
	return fleet.Errorf(fleet.BadGateway, "%s did not stay up until the edges led to it", r.name())
}

// exchange is the swap itself: nil for old adds, nil for fresh takes away.
func (o *rollout) exchange(old, fresh *replica) error {
	return o.actor.call(o.engine.life, func() { o.actor.exchange(old, fresh, o.asleep) })
}

func (a *actor) exchange(old, fresh *replica, asleep bool) {
	if old != nil {
		v := old.look()
		a.cutOff = a.cutOff || v.lost && v.runs()
		old.stopWatchingHealth()
		a.replicas = slices.DeleteFunc(a.replicas, func(r *replica) bool { return r == old })
		a.extra = append(a.extra, old)
		a.engine.ledger.replaced(old.place, true)
	}
	if fresh != nil {
		a.extra = slices.DeleteFunc(a.extra, func(r *replica) bool { return r == fresh })
		a.replicas = append(a.replicas, fresh)
		a.engine.ledger.replaced(fresh.place, false)
		slices.SortFunc(a.replicas, func(x, y *replica) int { return x.index - y.index })
	}
	a.becameReady(asleep)
}

// becameReady lets the service go on with what a job has made ready. A service
// that is to stay asleep does; one that had ended or failed is awake from now on.
func (a *actor) becameReady(asleep bool) {
	a.noteDown()
	ready := slices.ContainsFunc(a.replicas, func(r *replica) bool { return r.look().serves() })
	switch {
	case !ready:
		a.publish()
	case a.power == powerFailed, a.power == powerAsleep && !asleep:
		a.transition(eventRequest) // which finds it ready
	default:
		if a.transition(eventReady) == effectNone {
			a.publish()
		}
	}
}
