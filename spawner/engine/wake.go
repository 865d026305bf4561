package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// WakeForRequest returns a ready endpoint of the service: at once while it is
// awake, else it joins the wake under way or begins one, and waits. When ctx
// ends only this caller goes; the wake goes on for the others. Cause says in
// the event and in why what woke it.
//
// Errors are *fleet.Error: NotFound (unknown, or removed meanwhile), Timeout
// (not ready within the spec's wake.max_wait), BadGateway (the app ends at
// once), Unavailable (the engine does not answer, or no replica is wanted).
func (e *Engine) WakeForRequest(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
	return e.wake(ctx, name, cause, nil)
}

// wake is WakeForRequest with the chain of services that wait for this one.
func (e *Engine) wake(ctx context.Context, name, cause string, chain []string) (fleet.Endpoint, error) {
	a, ok := e.actor(name)
	if !ok {
		return fleet.Endpoint{}, unknown(name)
	}
	a.use.touch(time.Now())
	if routed, ok := e.Snapshot().Find(name); ok && len(routed.Endpoints) > 0 {
		return a.use.pick(routed.Endpoints), nil
	}
	waiter := make(chan answer, 1)
	var maxWait time.Duration
	var needs []string
	err := a.call(ctx, func() {
		maxWait = a.maxWait()
		needs, _ = a.missingNeeds(chain)
		if len(needs) == 0 {
			a.request(waiter, cause)
		}
	})
	if err != nil {
		return fleet.Endpoint{}, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, maxWait, errMaxWait)
	defer cancel()
	if len(needs) > 0 {
		e.spawn(func() { // it goes on when this caller leaves
			ctx, cancel := e.background(maxWait)
			defer cancel()
			err := e.wakeNeeds(ctx, name, needs, chain)
			if ctx.Err() != nil {
				return // so has the caller's time, who says what was waited for
			}
			if err != nil {
				waiter <- answer{err: err}
				return
			}
			a.post(func() { a.request(waiter, cause) })
		})
	}
	return a.await(ctx, waiter, began)
}

var errMaxWait = errors.New("wake.max_wait has passed")

func unknown(name string) error {
	return fleet.Errorf(fleet.NotFound, "there is no service %q", name)
}

func (a *actor) maxWait() time.Duration {
	switch {
	case a.print != nil:
		return a.print.spec.Wake.MaxWait.Std()
	case a.newest != nil:
		return a.newest.Wake.MaxWait.Std()
	}
	return fleet.DefaultMaxWait.Std()
}

// request enters a request that waits for a ready replica.
func (a *actor) request(waiter chan answer, cause string) {
	switch {
	case a.removing:
		waiter <- answer{err: errRemoved}
		return
	case a.print == nil && (a.job != nil || a.power != powerFailed):
		a.waiters = append(a.waiters, waiter) // its first deploy is under way, or waits for its turn
		return
	case a.print == nil:
		waiter <- answer{err: fleet.Errorf(fleet.Unavailable, "%s has never been deployed successfully", a.name)}
		return
	}
	if a.power == powerAwake {
		if ready := a.readyReplicas(); len(ready) > 0 {
			waiter <- answer{endpoint: ready[0]}
			return
		}
		a.waiters = append(a.waiters, waiter)
		a.reviveDown()
		return
	}
	a.waiters = append(a.waiters, waiter)
	switch a.power {
	case powerAsleep, powerFailed, powerStopping:
		a.noteWake(cause)
	case powerDraining:
		a.lastSleep = fmt.Sprintf("%s: called back by %s", stamp(time.Now()), cause)
		a.engine.record(fleet.Event{Type: fleet.EventSleep, Service: a.name, Message: fmt.Sprintf("%s stays awake: called back by %s", a.name, cause)})
	}
	a.transition(eventRequest)
}

// startAll wakes: the first replica of each node at once, the others when one is ready, so
// that the request that waits does not share a node's cores with them.
func (a *actor) startAll() {
	a.failure, a.stalled = nil, false
	if len(a.replicas) == 0 && a.job != nil {
		return // a rollout is between the old replica and the new one
	}
	if len(a.replicas) == 0 {
		a.failure = a.scaledToNone()
		if a.standsNowhere() {
			a.failure = fleet.Errorf(fleet.Unavailable, "%s", cmp.Or(a.unplaced, a.name+" has no replica yet"))
		}
		a.transition(eventStartFailed)
		return
	}
	if slices.ContainsFunc(a.replicas, func(r *replica) bool { return r.look().serves() }) {
		a.wakeBegan = time.Time{}
		a.rest = a.job == nil // a rollout brings the others up itself
		a.transition(eventReady)
		return
	}
	a.rest = true
	a.leaveSilentNodes()
	for _, r := range a.firstOfEachNode() {
		a.orderUp(r)
	}
	a.publish()
	a.engine.spawn(func() {
		pause(a.engine.life, restPatience)
		a.post(func() {
			if a.power == powerWaking {
				a.startRest()
			}
		})
	})
}

// firstOfEachNode returns the replicas that a wake begins with: those on nodes
// that answer, one on each; where none does, the first.
func (a *actor) firstOfEachNode() []*replica {
	var first []*replica
	seen := map[string]bool{}
	for _, r := range a.replicas {
		if !seen[r.node] && a.engine.members.answers(r.node) {
			seen[r.node] = true
			first = append(first, r)
		}
	}
	if len(first) == 0 {
		return a.replicas[:1]
	}
	return first
}

// restPatience is how long a wake waits for its first replicas alone: one that
// hangs keeps nobody from the others.
const restPatience = 3 * time.Second

// startRest brings the other replicas up once the first has been decided on.
func (a *actor) startRest() {
	if !a.rest {
		return
	}
	a.rest = false
	for _, r := range a.replicas {
		if v := r.look(); !v.serves() && !v.onTheWay() {
			a.orderUp(r)
		}
	}
}

// orderUp brings a replica up because the service is asked for: what it was given up for is forgiven.
func (a *actor) orderUp(r *replica) {
	r.care.gaveUp, r.care.atRest, r.care.fault = false, false, nil
	r.order(wantUp)
}

// readyReplicas are the endpoints of ready replicas; one without a port answers nobody over the edge.
func (a *actor) readyReplicas() []fleet.Endpoint {
	if ready := a.endpoints(); len(ready) > 0 {
		return ready
	}
	for _, r := range a.replicas {
		if r.look().state == stateReady && a.print.port == 0 {
			return []fleet.Endpoint{{Replica: r.name()}}
		}
	}
	return nil
}

// reviveDown starts, for a request, what ended and waits for its back-off.
func (a *actor) reviveDown() {
	for _, r := range a.replicas {
		if v := r.look(); v.state == stateDown && !v.onTheWay() {
			a.orderUp(r)
		}
	}
}

// reviveFallen starts what ended by fault while the service was falling asleep,
// and everything if nothing serves any more.
func (a *actor) reviveFallen() {
	for _, r := range a.replicas {
		if v := r.look(); v.state == stateDown && v.want == wantUp {
			r.order(wantUp)
		}
	}
	if len(a.readyReplicas()) == 0 {
		a.reviveDown()
	}
}

func (a *actor) noteWake(cause string) {
	a.wakeTold = true
	a.lastWake = fmt.Sprintf("%s: %s", stamp(time.Now()), cause)
	a.engine.record(fleet.Event{Type: fleet.EventWake, Service: a.name, Message: fmt.Sprintf("Waking %s: %s", a.name, cause)})
	_, unknown := a.missingNeeds(nil)
	for _, need := range unknown {
		a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Message: fmt.Sprintf("%s needs %s, which is not deployed", a.name, need)})
	}
}

// await waits for the answer to a request.
func (a *actor) await(ctx context.Context, waiter chan answer, began time.Time) (fleet.Endpoint, error) {
	select {
	case got := <-waiter:
		return got.endpoint, got.err
	case <-a.ended:
		select {
		case got := <-waiter:
			return got.endpoint, got.err
		default:
			return fleet.Endpoint{}, a.engine.endOfActor()
		}
	case <-ctx.Done():
		a.post(func() { a.leave(waiter) })
		return fleet.Endpoint{}, a.engine.lateness(ctx, a, began, context.Cause(ctx))
	}
}

// leave takes a waiter off the list.
func (a *actor) leave(waiter chan answer) {
	a.waiters = slices.DeleteFunc(a.waiters, func(other chan answer) bool { return other == waiter })
}

// lateness turns the end of max_wait into an answer that says what was waited for.
func (e *Engine) lateness(ctx context.Context, a *actor, began time.Time, err error) error {
	if !errors.Is(context.Cause(ctx), errMaxWait) {
		return err
	}
	late := fleet.Errorf(fleet.Timeout, "%s was not ready within %s: %s", a.name, time.Since(began).Round(time.Second), a.waitingFor())
	late.RetryAfter = 5 * time.Second
	return late
}

// waitingFor says what the wake under way waits for. It may be called from anywhere.
func (a *actor) waitingFor() string {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	text := "its actor is busy"
	err := a.call(ctx, func() {
		text = "no replica is being started"
		if needs, _ := a.missingNeeds(nil); len(needs) > 0 {
			text = fmt.Sprintf("it needs %s, which is not awake", strings.Join(needs, " and "))
			return
		}
		for _, r := range a.replicas {
			switch v := r.look(); {
			case v.lastError != nil:
				text = v.lastError.Error()
				return
			case v.state == stateStarting:
				text = fmt.Sprintf("%s is started and %s", r.name(), r.unready())
				return
			case v.want == wantUp:
				text = fmt.Sprintf("%s is being started", r.name())
				return
			}
		}
	})
	if err != nil {
		return err.Error()
	}
	return text
}

// missingNeeds are the services of wake.needs that are not awake, without
// those that wait for this one already; and those that nobody knows.
func (a *actor) missingNeeds(chain []string) (missing, unknown []string) {
	if a.print == nil || a.power == powerAwake || a.power == powerWaking {
		return nil, nil
	}
	snapshot := a.engine.Snapshot()
	for _, need := range a.print.spec.Wake.Needs {
		routed, known := snapshot.Find(need)
		if slices.Contains(chain, need) || known && len(routed.Endpoints) > 0 {
			continue
		}
		if !known {
			unknown = append(unknown, need)
			continue
		}
		missing = append(missing, need)
	}
	return missing, unknown
}

// wakeNeeds wakes what a service needs, side by side, and waits for all of it.
func (e *Engine) wakeNeeds(ctx context.Context, name string, needs, chain []string) error {
	results := make(chan error, len(needs))
	for _, need := range needs {
		go func() {
			_, err := e.wake(ctx, need, "needed by "+name, append(slices.Clone(chain), name))
			results <- err
		}()
	}
	var failed []error
	for range needs {
		if err := <-results; err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("cannot wake what %s needs: %w", name, err)
	}
	return nil
}

// Published waits until every edge has confirmed what was last published of the service.
func (e *Engine) Published(ctx context.Context, name string) error {
	a, ok := e.actor(name)
	if !ok {
		return unknown(name)
	}
	var version uint64
	if err := a.call(ctx, func() { version = a.version }); err != nil {
		return err
	}
	_, err := e.router.Confirmed(ctx, version)
	return err
}
