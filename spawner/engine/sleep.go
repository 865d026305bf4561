package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// Bounds of falling asleep.
const (
	drainLimit    = 30 * time.Second // for requests in flight to end; then the sleep is called off
	drainPause    = 250 * time.Millisecond
	connsTimeout  = 5 * time.Second
	idleAgainUsed = 10 * time.Second // from a look that found connections to the next
)

// fallAsleep begins a sleep: true when it is under way or done. Cause is for the event.
func (a *actor) fallAsleep(mode fleet.SleepMode, cause string) error {
	if a.job != nil {
		return fleet.Errorf(fleet.Conflict, "%s cannot sleep while its job %s (%s) runs", a.name, a.job.ID, a.job.Kind)
	}
	if a.power == powerAsleep || a.power == powerStopping || a.power == powerDraining {
		return nil
	}
	a.depth = mode
	if a.transition(eventSleep) == effectRefuse {
		return fleet.Errorf(fleet.Conflict, "%s is being woken; it can sleep when that has ended", a.name)
	}
	a.lastSleep = fmt.Sprintf("%s: %s", stamp(time.Now()), cause)
	a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: fmt.Sprintf("Putting %s to sleep: %s", a.name, cause)})
	return nil
}

// beginDrain takes the service off the edge and waits, beside the actor, until
// every edge has confirmed that and nothing is in flight.
func (a *actor) beginDrain() {
	a.publish()
	version := a.version
	replicas := append([]*replica(nil), a.replicas...)
	ctx, cancel := a.engine.background(drainLimit)
	a.drain = cancel
	a.drains++
	number := a.drains
	a.engine.group.Go(func() {
		defer cancel()
		err := a.engine.drained(ctx, a, version, replicas)
		a.post(func() { a.endDrain(number, err) })
	})
}

// endDrain goes on to stop, or calls the sleep off when something is still in flight.
func (a *actor) endDrain(number int, err error) {
	if a.power != powerDraining || a.drains != number {
		return // called back meanwhile; what drains now is a later sleep
	}
	a.drain = nil
	if err == nil {
		a.stopWatching()
		a.transition(eventDrained)
		return
	}
	a.lastSleep = fmt.Sprintf("%s: called off: %s", stamp(time.Now()), err)
	a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: fmt.Sprintf("%s stays awake: %s", a.name, err)})
	a.transition(eventRequest)
}

func (a *actor) stopWatching() {
	for _, r := range a.replicas {
		r.stopWatchingHealth()
	}
}

// drained returns nil when every edge sends the service's traffic elsewhere
// and no request is in flight at the replicas; an error says what is.
func (e *Engine) drained(ctx context.Context, a *actor, version uint64, replicas []*replica) error {
	if _, err := e.router.Confirmed(ctx, version); err != nil {
		return fmt.Errorf("the edges have not confirmed that its route is off: %w", err)
	}
	for {
		busy := ""
		if held, _ := a.use.look(); held > 0 {
			busy = fleet.CountedAre(held, "request") + " proxied by the fallback router"
		}
		for _, r := range replicas {
			used, err := e.connections(ctx, r)
			switch {
			case err != nil && !e.mayPass(ctx, err, r.node):
				return fmt.Errorf("cannot see whether %s is in use: %w", r.name(), err)
			case err != nil:
				busy = fmt.Sprintf("it cannot be seen whether %s is in use: %s", r.name(), err)
			case len(used) > 0:
				busy = fmt.Sprintf("%s open to %s, one from %s", fleet.CountedAre(len(used), "connection"), r.name(), used[0].Remote.Addr())
			}
		}
		if busy == "" {
			return nil
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return fmt.Errorf("after %s %s", drainLimit, busy)
		}
	}
}

// connections lists a replica's connections in use: exact, by the kernel's own
// list in the sandbox's network.
func (e *Engine) connections(ctx context.Context, r *replica) ([]fleet.Connection, error) {
	v := r.look()
	if !v.runs() || v.sandbox.id == "" {
		return nil, nil
	}
	var list []fleet.Connection
	err := e.whileAnswers(ctx, r.node, func(ctx context.Context) (err error) {
		list, err = e.listConnections(ctx, r.node, v.sandbox.id)
		return err
	})
	return inUse(list), err
}

func (e *Engine) listConnections(ctx context.Context, node, sandbox string) ([]fleet.Connection, error) {
	release, err := e.looks.acquire(ctx, node) // an engine that runs many commands at once is done with none in time
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, connsTimeout)
	defer cancel()
	result, err := e.shell.Exec(ctx, node, sandbox, []string{"/sandbox", "conns"})
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		return nil, fmt.Errorf("the sandbox's conns ended with code %d: %s", result.ExitCode, result.Output)
	}
	var list []fleet.Connection
	if err := json.Unmarshal(result.Output, &list); err != nil {
		return nil, fmt.Errorf("cannot read the sandbox's list of connections: %w", err)
	}
	return list, nil
}

// mayPass says whether connections could not be listed since an engine was slow:
// then they are listed again, and nothing that may be in use is stopped meanwhile.
func (e *Engine) mayPass(ctx context.Context, err error, node string) bool {
	return ctx.Err() == nil && fleet.KindOf(err) == fleet.Unavailable && e.members.answers(node)
}

// scheduleIdle looks at the evidence of use when that can have changed.
func (a *actor) scheduleIdle() {
	a.stopIdleTimer()
	if a.power != powerAwake || a.print == nil {
		return
	}
	v := a.evidence().judge(time.Now())
	a.idleWhy = v.reason
	if v.idle {
		a.lookCloser()
		return
	}
	a.idleTimer = time.AfterFunc(v.again, func() { a.post(a.scheduleIdle) })
}

func (a *actor) stopIdleTimer() {
	if a.idleTimer != nil {
		a.idleTimer.Stop()
	}
}

func (a *actor) evidence() evidence {
	held, last := a.use.look()
	counted, known := a.engine.traffic.LastRequest(a.name)
	return evidence{
		after: a.print.spec.Sleep.After.Std(), held: held, lastHeld: last,
		awake: a.awakeAt, counted: counted, known: known,
	}
}

// lookCloser asks the edges' counters anew and the replicas for connections,
// once, when the cheap evidence says idle; then the service sleeps.
func (a *actor) lookCloser() {
	if a.job != nil || a.engine.tooEarlyToSleep() {
		a.idleWhy = "a job runs, or the spawner has just started and waits for its edges"
		a.idleTimer = time.AfterFunc(idleAgainUsed, func() { a.post(a.scheduleIdle) })
		return
	}
	replicas := append([]*replica(nil), a.replicas...)
	a.engine.group.Go(func() {
		seen := a.engine.useSeen(replicas)
		a.post(func() { a.sleepUnlessUsed(seen) })
	})
}

// use that a closer look found, and when to look again; none = the zero value.
type seenUse struct {
	reason string
	again  time.Duration
}

func (e *Engine) useSeen(replicas []*replica) seenUse {
	ctx, cancel := e.background(callTimeout)
	defer cancel()
	if err := e.traffic.Refresh(ctx); err != nil {
		return seenUse{fmt.Sprintf("an edge's counters cannot be read: %s", err), idleAgainUsed}
	}
	for _, r := range replicas {
		used, err := e.connections(ctx, r)
		if err != nil {
			return seenUse{fmt.Sprintf("cannot see whether %s is in use: %s", r.name(), err), idleAgainUsed}
		}
		if len(used) > 0 {
			quiet := used[0].LastRecv.Std()
			for _, c := range used {
				quiet = min(quiet, c.LastRecv.Std())
			}
			reason := fmt.Sprintf("%s open to %s, one from %s; the last byte came in %s ago",
				fleet.CountedAre(len(used), "connection"), r.name(), used[0].Remote.Addr(), quiet.Round(time.Second))
			// A connection that the edge only keeps for the next request is gone when its idle time is over.
			return seenUse{reason, lookAgain(quiet)}
		}
	}
	return seenUse{}
}

// lookAgain says when to look again at connections over which nothing came in for quiet.
func lookAgain(quiet time.Duration) time.Duration {
	if quiet < edgeIdleTimeout {
		return edgeIdleTimeout - quiet + time.Second
	}
	return idleAgainUsed
}

func (a *actor) sleepUnlessUsed(seen seenUse) {
	if a.power != powerAwake || a.print == nil {
		return
	}
	if seen.reason == "" {
		if v := a.evidence().judge(time.Now()); !v.idle { // it was used while we looked
			a.scheduleIdle()
			return
		}
		if err := a.fallAsleep(a.print.spec.Sleep.Mode, fmt.Sprintf("idle for %s", a.print.spec.Sleep.After)); err == nil {
			return
		}
		seen = seenUse{"it cannot sleep now", idleAgainUsed}
	}
	a.idleWhy = seen.reason
	a.idleTimer = time.AfterFunc(seen.again, func() { a.post(a.scheduleIdle) })
}
