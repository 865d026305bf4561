package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// What becomes of a replica whose health check fails:
//
//	others serve                  off the edges, its requests end, then it is restarted
//	it is the last, and answers   it stays on the edges; a new one is brought up beside
//	                              it by a restart of the service, and takes its place;
//	                              one that must not run twice is left, and that is said
//	it is the last, and is silent off the edges, requests are held, and it is restarted
//
// So a check alone, which may be wrong, takes the last replica from nobody; an app
// that hangs serves nobody either.
const (
	leaveConfirm = 10 * time.Second // for the edges to confirm that it is off
	leaveLimit   = 10 * time.Second // for the requests in flight at one that answers; stop_grace if that is less
	leaveHung    = 500 * time.Millisecond
	askAgain     = 10 * time.Second // whether it answers, of one whose check cannot tell
)

// healthChanged takes the verdict of a health check on a replica that is up.
func (a *actor) healthChanged(r *replica, found finding) {
	v := r.look()
	switch {
	case found.healthy && v.state == stateUnhealthy:
		r.care.sick = nil
		r.setState(stateReady)
		a.relief.over = false
		a.record(fleet.EventHealth, r, "Container %s healthy", r.name())
		a.transition(eventReady)
	case !found.healthy && v.state == stateReady:
		r.setState(stateUnhealthy)
		r.care.sick, r.care.answers, r.care.asked = found.reason, found.answers, found.told
		r.care.askedAt = time.Time{}
		a.record(fleet.EventHealth, r, "Container %s failed health check: %s", r.name(), found.reason)
		a.publish()
	case !found.healthy && v.state == stateUnhealthy && found.told && found.answers != r.care.answers:
		r.care.sick, r.care.answers = found.reason, found.answers
		a.log.Info("An unhealthy replica answers, or ceases to", "replica", r.name(), "answers", found.answers)
		a.publish()
	}
	a.mend()
}

// tellHealthyAgain tells of a replica that an event has said to be restarted.
func (a *actor) tellHealthyAgain(r *replica) {
	if r.care.restarted {
		r.care.restarted = false
		a.record(fleet.EventHealth, r, "Container %s healthy", r.name())
	}
}

// mend does what is to be done about replicas that are up and do not serve, and
// about those that are down and nobody brings up. It looks at what is, not at what
// happened, so it may be called at any time.
func (a *actor) mend() {
	if a.power != powerAwake || a.job != nil {
		return // a rollout replaces it or leaves it to us; who sleeps needs nothing
	}
	serving := false
	for _, r := range a.replicas {
		serving = serving || r.look().serves()
	}
	for _, r := range a.replicas {
		if v := r.look(); v.state == stateUnhealthy && v.want == wantUp && !r.care.leaving {
			a.treat(r, serving)
		} else if r.forgotten(v) {
			r.order(wantUp)
		}
	}
	if len(a.waiters) > 0 {
		a.reviveDown()
	}
}

// forgotten says whether a replica is not up for no reason that anybody remembers:
// its driver has nothing to do, and no start is due.
func (r *replica) forgotten(v view) bool {
	_, generation := r.orders()
	up := v.state == stateReady || v.state == stateUnhealthy || v.state == stateGone
	return !up && !r.care.atRest && r.care.heard == generation && !r.startDue()
}

// treat decides on one unhealthy replica; serving says whether others serve.
func (a *actor) treat(r *replica, serving bool) {
	switch {
	case serving, r.care.asked && !r.care.answers:
		a.withdraw(r)
	case !r.care.askedAt.IsZero() && time.Since(r.care.askedAt) > askAgain, !r.care.asked:
		a.askWhetherItAnswers(r)
	case a.othersOnTheWay(r): // it is relieved by these
	default:
		a.replaceLast(r)
	}
}

func (a *actor) othersOnTheWay(r *replica) bool {
	for _, other := range a.replicas {
		if other != r && other.look().onTheWay() && !other.care.gaveUp {
			return true
		}
	}
	return false
}

// askWhetherItAnswers finds out what a check by command cannot tell.
func (a *actor) askWhetherItAnswers(r *replica) {
	if !r.care.asked {
		r.care.answers = true // while it is being asked it stays
	}
	r.care.asked, r.care.askedAt = true, time.Now()
	readyAt := r.look().readyAt
	a.engine.group.Go(func() {
		ctx, cancel := a.engine.background(callTimeout)
		defer cancel()
		answers := a.engine.prober.Answers(ctx, r.target())
		a.post(func() {
			if v := r.look(); v.state == stateUnhealthy && v.readyAt.Equal(readyAt) {
				r.care.answers = answers
				a.publish()
				a.mend()
			}
		})
	})
}

// withdraw takes a replica off the edges, waits beside the actor until they have
// confirmed that and its requests have ended, and then has it restarted.
func (a *actor) withdraw(r *replica) {
	r.care.leaving = true
	a.publish()
	version := a.version
	_, generation := r.orders()
	limit := min(r.print.spec.StopGrace.Std(), leaveLimit)
	if !r.care.answers {
		limit = leaveHung
	}
	a.engine.group.Go(func() {
		a.engine.leave(r, version, limit)
		a.post(func() {
			r.care.leaving = false
			v := r.look()
			if _, now := r.orders(); now != generation || v.state != stateUnhealthy || a.power != powerAwake || a.job != nil {
				a.publish() // it is healthy again, or somebody else decides on it now
				a.mend()
				return
			}
			r.stopWatchingHealth()
			r.notHeard()
			r.order(wantDown) // for the time of a back-off; a start stops it first, too
			a.restartLater(r, RestartUnhealthy, fmt.Errorf("%s failed its health check: %w", r.name(), r.care.sick))
		})
	})
}

// leave waits until every edge has confirmed a document without the replica, and
// until nothing is in flight there; neither for ever, since it does not serve.
func (e *Engine) leave(r *replica, version uint64, limit time.Duration) {
	ctx, cancel := e.background(leaveConfirm)
	defer cancel()
	if _, err := e.router.Confirmed(ctx, version); err != nil {
		r.log.Warn("An unhealthy replica is restarted although not every edge has confirmed that it is off", "error", err)
	}
	draining, cancel := e.background(limit)
	defer cancel()
	if _, err := e.drain(draining, r); err != nil {
		r.log.Debug("An unhealthy replica is restarted with requests in flight", "error", err)
	}
}

// relief counts the replacements of last replicas that are unhealthy.
type relief struct {
	tries   tries
	of      *replica // the last one that was to be replaced
	pending bool     // one will be asked for
	over    bool     // it did not help too often
}

// replaceLast has the service restarted as a user would: a new replica is brought
// up beside the one that is unhealthy and answers, and takes its place when it is
// ready. When that does not help it is tried again with back-off, and then left.
func (a *actor) replaceLast(r *replica) {
	lived := time.Duration(0)
	if a.relief.of != r { // else it is the one that could not be replaced before
		lived = time.Since(r.look().readyAt)
		a.relief.over = false
	}
	if a.relief.pending || a.relief.over || a.engine.queue.of(a.name) != nil {
		return
	}
	a.relief.of = r
	if a.mustNotRunBeside(r) {
		a.relief.over = true
		a.record(fleet.EventWarning, r, "%s fails its health check and stays on the edges, since it answers and is the last; "+
			"to replace it would stop it first, so that is left to spawner restart: %s", r.name(), r.care.sick)
		return
	}
	limit := r.print.spec.RestartLimit
	wait, tooMany := a.relief.tries.again(limit, lived, time.Now())
	if tooMany {
		a.relief.over = true
		a.record(fleet.EventFailed, r, "%s fails its health check, and to replace it %s did not help; it stays on the edges, since it answers and is the last: %s",
			r.name(), fleet.Counted(limit.Most(), "time"), r.care.sick)
		return
	}
	a.relief.pending = true
	a.engine.spawn(func() {
		pause(a.engine.life, wait)
		ctx, cancel := a.engine.background(storeTimeout)
		defer cancel()
		if err := a.engine.relieve(ctx, a, r); err != nil {
			a.log.Warn("Cannot have an unhealthy replica replaced", "replica", r.name(), "error", err)
		}
		a.post(func() { a.relief.pending = false }) // the job's end, or the next look, goes on from there
	})
}

// mustNotRunBeside says whether a new replica could not be brought up before the old one has ended.
func (a *actor) mustNotRunBeside(r *replica) bool {
	return slices.ContainsFunc(plan(a.stand(), a.desired.Replicas, a.print, true), func(c change) bool { return c.index == r.index && c.stopFirst })
}

// relieve accepts a restart of the service if the replica still needs it.
func (e *Engine) relieve(ctx context.Context, a *actor, r *replica) error {
	needed := false
	err := a.call(ctx, func() {
		needed = a.power == powerAwake && a.job == nil && r.look().state == stateUnhealthy && r.care.sick != nil
	})
	if err != nil || !needed {
		return err
	}
	_, err = e.Restart(ctx, a.name, fmt.Sprintf("the spawner, since %s fails its health check", r.name()))
	return err
}
