package engine

import (
	"fmt"
	"time"

	"edgespawner/fleet"
)

// noticeDied takes the engine's word that the app ended. A notice of an
// earlier life is told from this one's by the engine's own clock.
func (r *replica) noticeDied(n fleet.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case stateStarting:
		r.engine.group.Go(r.verifyDeath)
	case stateReady, stateUnhealthy, statePaused:
		if n.Time.Before(r.startedAt) {
			return
		}
		if r.startedAt.IsZero() { // its start has not been answered yet
			r.engine.group.Go(r.verifyDeath)
			return
		}
		r.diedLocked(n)
	}
}

func (r *replica) diedLocked(n fleet.Notice) {
	r.setStateLocked(stateDown)
	r.lastExit = exitText(n)
	r.report(r, report{kind: reportDied, exit: n.Exit, exitText: r.lastExit})
}

func exitText(n fleet.Notice) string {
	return fmt.Sprintf("exited with code %d at %s", n.Exit, n.Time.UTC().Format(time.RFC3339))
}

// verifyDeath asks the engine whether the life that is beginning has ended
// already: a notice may have been about the life before.
func (r *replica) verifyDeath() {
	ctx, cancel := r.engine.background(callTimeout)
	defer cancel()
	c, err := r.engine.containers.Inspect(ctx, r.node, r.look().app.id)
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := err != nil && fleet.KindOf(err) == fleet.NotFound
	if !gone && (err != nil || c.Status == fleet.ContainerRunning || !c.StartedAt.After(r.lifeBefore)) {
		return
	}
	switch {
	case r.abort != nil:
		r.abort(errDied)
	case r.state == stateReady || r.state == stateUnhealthy:
		r.diedLocked(fleet.Notice{Exit: c.ExitCode, Time: c.FinishedAt})
	}
}

// appEnded decides what the end of a serving app means: sleep, a restart, or giving up.
func (a *actor) appEnded(r *replica, what report) {
	a.engine.record(fleet.Event{Type: fleet.EventExit, Service: a.name, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("%s %s", r.name(), what.exitText)})
	switch a.power {
	case powerAwake, powerDraining:
	case powerWaking: // it was ready for a moment
		a.restartLater(r, fmt.Errorf("%s %s", r.name(), what.exitText))
		return
	default:
		a.checkStopped()
		return
	}
	a.publish()
	if endIsRest(r.print.spec, what.exit) {
		r.order(wantDown) // with its sandbox up
		if a.noneUp() {
			a.depth = fleet.SleepStop
			a.awakeAt = time.Time{}
			a.lastSleep = fmt.Sprintf("%s: its app ended by itself with code %d", stamp(time.Now()), what.exit)
			a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: fmt.Sprintf("%s fell asleep: its app ended by itself", a.name)})
			a.transition(eventEnded)
		}
		return
	}
	if a.power == powerAwake {
		a.restartLater(r, fmt.Errorf("%s %s", r.name(), what.exitText))
	}
}

// endIsRest says whether an app's end is its own good right: sleep, and no fault.
func endIsRest(spec *fleet.Spec, exit int) bool {
	switch {
	case spec.Direct, spec.Restart == fleet.RestartNever:
		return true
	case exit != 0:
		return false
	}
	return spec.Sleep.After > 0 || spec.Restart == fleet.RestartOnFailure
}

func (a *actor) noneUp() bool {
	for _, r := range a.replicas {
		if v := r.look(); v.runs() || v.want == wantUp {
			return false
		}
	}
	return true
}

// restartLater restarts a replica: at once the first time, then with back-off;
// after too many times without a healthy while it is given up.
func (a *actor) restartLater(r *replica, cause error) {
	r.mu.Lock()
	if !r.upSince.IsZero() && time.Since(r.upSince) > backoffReset {
		r.restarts = 0
	}
	r.upSince = time.Time{} // counted once: starts that fail from now on are not of a life that was long
	count := r.restarts
	r.restarts++
	r.lastError = cause
	r.mu.Unlock()
	wait, giveUp := backoff(count)
	if giveUp {
		a.giveUp(r, cause)
		return
	}
	a.engine.record(fleet.Event{Type: fleet.EventRestart, Service: a.name, Container: r.name(), NodeID: r.node, Message: restartMessage(r, wait)})
	if wait == 0 {
		r.order(wantUp)
		return
	}
	_, generation := r.orders()
	time.AfterFunc(wait, func() {
		a.post(func() {
			if _, now := r.orders(); now == generation && (a.power == powerAwake || a.power == powerWaking) {
				r.order(wantUp)
			}
		})
	})
}

func restartMessage(r *replica, wait time.Duration) string {
	if wait == 0 {
		return fmt.Sprintf("Restarting %s...", r.name())
	}
	return fmt.Sprintf("Restarting %s in %s...", r.name(), wait)
}

func (a *actor) giveUp(r *replica, cause error) {
	r.order(wantDown)
	a.engine.record(fleet.Event{Type: fleet.EventFailed, Service: a.name, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("%s was restarted %d times and did not stay up: %s", r.name(), backoffGiveUp, cause)})
	if len(a.endpoints()) == 0 && a.noneUp() {
		a.failure = fleet.Errorf(fleet.BadGateway, "%s does not stay up: %s", a.name, cause)
		a.transition(eventGaveUp)
		return
	}
	a.publish()
}

// healthChanged takes a prober's verdict on a serving replica. One that fails is
// taken off the edge and restarted; requests are held meanwhile if it was the last.
func (a *actor) healthChanged(r *replica, healthy bool, reason error) {
	v := r.look()
	switch {
	case healthy && v.state == stateUnhealthy:
		r.setState(stateReady)
		a.engine.record(fleet.Event{Type: fleet.EventHealth, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("Container %s healthy", r.name())})
		a.transition(eventReady)
	case !healthy && v.state == stateReady:
		r.setState(stateUnhealthy)
		a.engine.record(fleet.Event{Type: fleet.EventHealth, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("Container %s failed health check: %s", r.name(), reason)})
		a.publish()
		a.replaceUnhealthy(r, reason)
	}
}

// replaceUnhealthy restarts a replica that runs and does not serve.
func (a *actor) replaceUnhealthy(r *replica, reason error) {
	if a.power != powerAwake || a.job != nil {
		return // a rollout replaces it or puts it back
	}
	r.stopWatchingHealth()
	r.order(wantDown) // for the time of a back-off; a start stops it first, too
	a.restartLater(r, reason)
}
