package engine

import (
	"fmt"
	"time"

	"edgespawner/fleet"
)

// outsideKill is how long after a signal from outside an end is that signal's doing.
const outsideKill = 30 * time.Second

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

// noticeOOM remembers that the kernel killed something in the app for want of
// memory; that the app ended comes as a notice of its own.
func (r *replica) noticeOOM(n fleet.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ooms = n.Time
}

// noticeKilled remembers that a signal was sent to the app, not by us.
func (r *replica) noticeKilled(n fleet.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != stateStopping {
		r.killed = n.Time
	}
}

func (r *replica) diedLocked(n fleet.Notice) {
	r.setStateLocked(stateDown)
	end := ending{
		code: n.Exit, at: n.Time, oom: !r.ooms.IsZero() && !r.ooms.Before(r.startedAt),
		killed: !r.killed.IsZero() && n.Time.Sub(r.killed) < outsideKill,
	}
	end.outside = end.killed || n.Action != fleet.NoticeDied
	r.ooms, r.killed = time.Time{}, time.Time{}
	r.lastExit = end.String()
	r.report(r, report{kind: reportDied, end: end})
}

// ending is how a life of an app ended.
type ending struct {
	code int
	at   time.Time
	oom  bool // the kernel killed it for want of memory
	// outside: somebody else stopped it, or it was found ended when nobody had
	// told so, as after a restart of the engine: no end of its own accord.
	outside bool
	killed  bool   // the engine was asked to by somebody else, as by docker stop, kill or rm
	said    string // instead of all that: what the engine answered to its start
}

func (e ending) String() string {
	switch at := stamp(e.at); {
	case e.said != "":
		return e.said
	case e.oom:
		return fmt.Sprintf("was killed for want of memory (exit code %d) at %s", e.code, at)
	case e.killed:
		return fmt.Sprintf("exited with code %d at %s: it was stopped from outside, as docker stop, kill and rm do", e.code, at)
	default:
		return fmt.Sprintf("exited with code %d at %s", e.code, at)
	}
}

// reason is what a restart after this end is counted under.
func (e ending) reason() RestartReason {
	switch {
	case e.said != "":
		return RestartStartFailed
	case e.oom:
		return RestartOutOfMemory
	case e.outside:
		return RestartStopped
	}
	return RestartCrashed
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
		r.diedLocked(fleet.Notice{Action: fleet.NoticeDied, Exit: c.ExitCode, Time: c.FinishedAt})
	}
}

// appEnded decides what the end of a serving app means: sleep, a restart, or giving up.
func (a *actor) appEnded(r *replica, end ending) {
	a.record(fleet.EventExit, r, "%s %s", r.name(), end)
	r.stopWatchingHealth()
	r.care.sick = nil
	cause := fmt.Errorf("%s %s", r.name(), end)
	switch a.power {
	case powerAwake, powerDraining:
	case powerWaking: // it was ready for a moment
		a.endedByFault(r, end, cause)
		return
	default:
		a.checkStopped()
		return
	}
	a.publish()
	if endIsRest(r.print.spec, end) {
		a.rests(r, end)
	} else if a.power == powerAwake {
		a.endedByFault(r, end, cause)
	}
}

// endedByFault restarts a replica whose app ended, unless its spec says never.
func (a *actor) endedByFault(r *replica, end ending, cause error) {
	if !end.isFault(r.print.spec) {
		a.restartLater(r, end.reason(), cause)
		return
	}
	r.mu.Lock()
	r.upSince = time.Time{} // counted: the next life is another one
	r.mu.Unlock()
	a.leaveDown(r, cause)
}

// isFault says whether an end is a failure that nobody is to mend.
func (e ending) isFault(spec *fleet.Spec) bool {
	return spec.Restart == fleet.RestartNever && !spec.Direct && !e.outside && (e.code != 0 || e.oom)
}

// rests lets a replica be down whose app has ended by itself; the service sleeps with the last one.
func (a *actor) rests(r *replica, end ending) {
	r.care.atRest = true
	r.order(wantDown) // with its sandbox up
	if !a.noneUp() {
		return
	}
	if failed := a.leftDown(); failed != nil { // the others have ended well; this one has not
		a.failWith(failed, failed.care.fault)
		return
	}
	a.depth = fleet.SleepStop
	a.awakeAt = time.Time{}
	a.lastSleep = fmt.Sprintf("%s: its app ended by itself with code %d", stamp(time.Now()), end.code)
	a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: fmt.Sprintf("%s fell asleep: its app ended by itself", a.name)})
	a.transition(eventEnded)
}

// endIsRest says whether an app's end is its own good right: sleep, and no fault.
func endIsRest(spec *fleet.Spec, end ending) bool {
	switch {
	case spec.Direct:
		return true
	case spec.Restart == fleet.RestartNever:
		return !end.isFault(spec)
	case end.code != 0, end.outside, end.oom:
		return false
	}
	return spec.Sleep.After > 0 || spec.Restart == fleet.RestartOnFailure
}

// noneUp says whether no replica runs or is to. One that was given up is not.
func (a *actor) noneUp() bool {
	for _, r := range a.replicas {
		if v := r.look(); v.runs() || v.want == wantUp && !r.care.gaveUp {
			return false
		}
	}
	return true
}

// record records an event of a replica.
func (a *actor) record(kind fleet.EventType, r *replica, format string, args ...any) {
	a.engine.record(fleet.Event{Type: kind, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf(format, args...)})
}
