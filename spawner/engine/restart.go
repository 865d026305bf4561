package engine

import (
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// restartLater restarts a replica: at once the first time, then with back-off;
// after more times than its limit allows it is given up. What an engine that does
// not answer kept from starting is no fault of the app, and not counted.
func (a *actor) restartLater(r *replica, reason RestartReason, cause error) {
	if fleet.KindOf(cause) == fleet.Unavailable {
		a.startAgain(r, stallPause)
		return
	}
	r.mu.Lock()
	lived := time.Duration(0)
	if !r.upSince.IsZero() {
		lived = time.Since(r.upSince)
	}
	r.upSince = time.Time{} // counted once: starts that fail from now on are not of a life that was long
	wait, tooMany := r.tries.again(r.print.spec.RestartLimit, lived, time.Now())
	r.lastError = cause
	r.mu.Unlock()
	if tooMany {
		a.giveUp(r, cause)
		return
	}
	r.care.gaveUp = false
	a.engine.observer.Restarting(a.name, reason)
	if m, ok := a.engine.members.get(r.node); ok && !a.engine.members.answers(r.node) {
		a.record(fleet.EventNode, r, "%s waits for node %s, which is %s: it is restarted when that answers again", r.name(), r.node, m.look().State)
	} else {
		a.record(fleet.EventRestart, r, "%s", restartMessage(r, wait))
	}
	r.care.restarted = true
	a.startAgain(r, wait)
}

// stallPause lies between two tries of a start that the engine of containers,
// not the app, keeps from succeeding. A node that comes back is tried at once.
const stallPause = 5 * time.Second

const noneDue = -1 // no start is due by a timer

// startAgain orders a replica up after a while, unless another order comes first.
func (a *actor) startAgain(r *replica, wait time.Duration) {
	if wait == 0 {
		r.order(wantUp)
		return
	}
	_, generation := r.orders()
	r.care.pending = generation
	time.AfterFunc(wait, func() {
		a.post(func() {
			if r.care.pending == generation {
				r.care.pending = noneDue
			}
			if _, now := r.orders(); now == generation && (a.power == powerAwake || a.power == powerWaking) {
				r.order(wantUp)
			}
		})
	})
}

// startDue says whether a timer will start the replica if nothing else is ordered.
func (r *replica) startDue() bool {
	_, generation := r.orders()
	return r.care.pending == generation
}

func restartMessage(r *replica, wait time.Duration) string {
	if wait == 0 {
		return fmt.Sprintf("Restarting %s...", r.name())
	}
	return fmt.Sprintf("Restarting %s in %s...", r.name(), wait)
}

// giveUp ends a crash loop. While other replicas serve, this one is tried again
// now and then; with the last one the service has failed, until the next request or deploy.
func (a *actor) giveUp(r *replica, cause error) {
	r.order(wantDown)
	first := !r.care.gaveUp
	r.care.gaveUp = true
	last := len(a.endpoints()) == 0 && a.noneUp()
	if first || last {
		then := fmt.Sprintf("it is tried again every %s while others serve", backoffCap)
		if last {
			then = triedWhenAskedFor
		}
		text := fmt.Sprintf("%s was restarted %s and did not stay up: %s", r.name(), fleet.Counted(r.print.spec.RestartLimit.Most(), "time"), cause)
		a.tellGivenUp(r, text, then)
	}
	if last {
		a.failWith(r, cause)
		return
	}
	a.publish()
	a.startAgain(r, backoffCap)
}

// triedWhenAskedFor is what becomes of a service that has failed.
const triedWhenAskedFor = "it is tried again at the next request or deploy"

// failWith makes the service failed, until the next request or deploy.
func (a *actor) failWith(r *replica, cause error) {
	a.failure = fleet.Errorf(fleet.BadGateway, "%s does not stay up: %s", a.name, cause)
	if r.care.fault != nil {
		a.failure = fleet.Errorf(fleet.BadGateway, "%s has failed: %s", a.name, cause)
	}
	a.transition(eventGaveUp)
}

// leaveDown leaves a replica down whose app failed and is restarted by nobody
// but a wake or a deploy. With the last one the service has failed.
func (a *actor) leaveDown(r *replica, cause error) {
	r.order(wantDown)
	r.care.atRest, r.care.fault = true, cause
	last := len(a.endpoints()) == 0 && a.noneUp()
	then := "the others go on"
	if last {
		then = triedWhenAskedFor
	}
	a.tellGivenUp(r, fmt.Sprintf("%s is not restarted (restart: never)", cause), then)
	if last {
		a.failWith(r, cause)
		return
	}
	a.publish()
}

// leftDown returns a replica that leaveDown left so; nil = none.
func (a *actor) leftDown() *replica {
	for _, r := range a.replicas {
		if r.care.fault != nil {
			return r
		}
	}
	return nil
}

// startFailed decides what a replica that did not come up means for the service.
func (a *actor) startFailed(r *replica, err error) {
	if errors.Is(err, errNotWanted) {
		a.checkStopped()
		return
	}
	a.log.Warn("Cannot bring a replica where it is wanted", "replica", r.name(), "node", r.node, "error", err)
	if fleet.KindOf(err) == fleet.Timeout {
		r.notHeard()
	}
	if (a.power == powerWaking || a.power == powerAwake) && a.leaveFull(r, err) {
		return
	}
	switch a.power {
	case powerStopping, powerWanted:
		a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("cannot put %s to sleep: %s", r.name(), err)})
		a.checkStopped()
	case powerWaking:
		a.stalled = fleet.KindOf(err) == fleet.Unavailable
		if a.stalled && len(a.waiters) == 0 { // it was awake before the spawner began, and its node does not answer yet
			a.startAgain(r, stallPause)
			return
		}
		a.failure = wakeError(a.name, err)
		a.startRest()
		if !a.anyOnTheWay() {
			a.engine.record(fleet.Event{Type: fleet.EventFailed, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("%s cannot be woken: %s", a.name, err)})
			a.transition(eventStartFailed)
		}
	case powerAwake:
		a.restartLater(r, RestartStartFailed, err)
	}
}

// wakeError is what a client is told of a start that failed: that the app ended,
// or else that the service is not available; never that the request was wrong.
func wakeError(service string, err error) error {
	switch fleet.KindOf(err) {
	case fleet.BadGateway, fleet.Unavailable, fleet.Timeout:
		return err
	case fleet.Internal:
		return fleet.Errorf(fleet.Unavailable, "%s cannot be started now", service)
	}
	return fleet.Errorf(fleet.Unavailable, "%s", err)
}
