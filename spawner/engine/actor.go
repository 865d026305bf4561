package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edgespawner/fleet"
)

// errRemoved is what is left to say to whoever asks an actor that has ended.
var errRemoved = fleet.Errorf(fleet.NotFound, "the service has been removed")

// actor owns all that is known of one service. Its fields below inbox belong to
// the goroutine that runs loop; others reach them through post and call.
type actor struct {
	engine *Engine
	name   string
	log    *slog.Logger
	use    *usage
	inbox  inbox
	ended  chan struct{} // closed when loop has returned

	desired   fleet.Desired
	print     *blueprint // of the revision in service; nil = none has succeeded yet
	newest    *fleet.Spec
	power     power
	depth     fleet.SleepMode // of the present or last sleep
	replicas  []*replica      // the ones that serve, by index
	extra     []*replica      // of a rollout: new ones on trial, and old ones that are kept until it has ended
	rest      bool            // a wake began with the first replica; the others follow
	waiters   []chan answer   // requests that wait for the first ready replica
	failure   error           // why power is failed
	watchers  []powerWatcher
	job       *fleet.Job         // that runs now; nil = none
	drain     context.CancelFunc // ends the draining under way; nil = none
	drains    int                // that have begun; the outcome of an earlier one is nothing
	version   uint64             // of the snapshot that holds what was published last
	downSince time.Time          // when the last running app ended; zero while one runs
	awakeAt   time.Time
	idleTimer *time.Timer
	idleWhy   string // the last verdict's reason
	lastWake  string
	lastSleep string
	removing  bool
	gone      bool // it has been removed: loop returns
	sweeping  bool // what rollouts left in extra is being removed
}

// answer is what a waiting request gets.
type answer struct {
	endpoint fleet.Endpoint
	err      error
}

// inbox holds messages in order. It has no bound, so that nobody who posts
// ever waits, the actor itself least of all.
type inbox struct {
	mu     sync.Mutex
	queue  []func()
	signal chan struct{} // capacity 1: the queue is not empty
}

func (i *inbox) put(message func()) {
	i.mu.Lock()
	i.queue = append(i.queue, message)
	i.mu.Unlock()
	select {
	case i.signal <- struct{}{}:
	default:
	}
}

func (i *inbox) takeAll() []func() {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.queue
	i.queue = nil
	return all
}

func newActor(e *Engine, desired fleet.Desired) *actor {
	return &actor{
		engine: e, name: desired.Name, desired: desired,
		log:   e.log.With("service", desired.Name),
		use:   &usage{},
		inbox: inbox{signal: make(chan struct{}, 1)},
		ended: make(chan struct{}),
		power: powerAsleep, depth: fleet.SleepStop, downSince: time.Now(),
	}
}

// loop runs messages one after another until ctx ends or the service is gone.
func (a *actor) loop(ctx context.Context) {
	defer close(a.ended)
	defer a.stopIdleTimer()
	for {
		select {
		case <-a.inbox.signal:
			for _, message := range a.inbox.takeAll() {
				message()
			}
			if a.gone {
				a.answerAll(answer{err: errRemoved})
				return
			}
		case <-ctx.Done():
			a.answerAll(answer{err: errShutdown})
			return
		}
	}
}

// post hands the actor a message. It never waits; a message to an actor that
// has ended is dropped.
func (a *actor) post(message func()) { a.inbox.put(message) }

// call hands the actor a message and waits until it has been carried out. When
// it returns an error, it has not been and never will be.
func (a *actor) call(ctx context.Context, message func()) error {
	done := make(chan struct{})
	var taken atomic.Bool // by the actor, or by a caller who left: then it is never carried out
	a.post(func() {
		if taken.CompareAndSwap(false, true) {
			defer close(done)
			message()
		}
	})
	var left error
	select {
	case <-done:
		return nil
	case <-a.ended:
		left = a.engine.endOfActor()
	case <-ctx.Done():
		left = context.Cause(ctx)
	}
	if taken.CompareAndSwap(false, true) {
		return left
	}
	<-done // it is being carried out, which takes no time
	return nil
}

// transition carries an event through the state machine: the one place where
// power changes.
func (a *actor) transition(event powerEvent) effect {
	to, what := a.power.next(event)
	if what == effectInvalid {
		a.log.Error("Power met an event that it does not know", "power", a.power, "event", event)
		return effectNone
	}
	from := a.power
	if to != from {
		a.log.Debug("Power changed", "from", from, "to", to, "event", event)
		a.power = to
		a.saveSoon()
		a.tellWatchers()
	}
	switch {
	case to == powerAwake && from == powerWaking:
		a.awakeAt = time.Now()
	case to == powerAwake && from == powerDraining:
		a.reviveFallen()
	}
	switch what {
	case effectStart:
		a.startAll()
	case effectServe:
		a.serve()
	case effectDrain:
		a.beginDrain()
	case effectStop:
		a.stopAll()
	case effectRest:
		a.publish()
	case effectFail:
		a.publish()
		a.answerAll(answer{err: a.failure})
	}
	return what
}

// powerWatcher waits for a power.
type powerWatcher struct {
	until func(power) bool
	met   chan power // capacity 1
}

func (a *actor) tellWatchers() {
	a.watchers = slices.DeleteFunc(a.watchers, func(w powerWatcher) bool {
		if !w.until(a.power) {
			return false
		}
		w.met <- a.power
		return true
	})
}

// awaitPower carries out first (nil = nothing) in the actor and waits for a
// power, from that moment on, that until holds of. It returns that, or first's error.
func (a *actor) awaitPower(ctx context.Context, first func() error, until func(power) bool) (power, error) {
	w := powerWatcher{until: until, met: make(chan power, 1)}
	var refused error
	err := a.call(ctx, func() {
		if first != nil {
			if refused = first(); refused != nil {
				return
			}
		}
		a.watchers = append(a.watchers, w)
		a.tellWatchers()
	})
	if err != nil || refused != nil {
		return "", firstError(err, refused)
	}
	select {
	case p := <-w.met:
		return p, nil
	case <-a.ended:
		return "", a.engine.endOfActor()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// saveSoon lets the store know the desired state, off the path of requests.
func (a *actor) saveSoon() {
	desired := a.power.desired(a.depth)
	if a.desired.Power == desired || a.removing {
		return
	}
	a.desired.Power = desired
	a.engine.saver.save(a.desired)
}

// startAll wakes: the first replica at once, the others when it is ready, so
// that the request that waits does not share the node's cores with them.
func (a *actor) startAll() {
	a.failure = nil
	if len(a.replicas) == 0 && a.job != nil {
		return // a rollout is between the old replica and the new one
	}
	if len(a.replicas) == 0 {
		a.failure = a.scaledToNone()
		a.transition(eventStartFailed)
		return
	}
	if slices.ContainsFunc(a.replicas, func(r *replica) bool { return r.look().serves() }) {
		a.rest = a.job == nil // a rollout brings the others up itself
		a.transition(eventReady)
		return
	}
	a.rest = true
	a.replicas[0].order(wantUp)
	a.publish()
}

// startRest brings the other replicas up once the first has been decided on.
func (a *actor) startRest() {
	if !a.rest {
		return
	}
	a.rest = false
	for _, r := range a.replicas {
		if v := r.look(); !v.serves() && !v.onTheWay() {
			r.order(wantUp)
		}
	}
}

// serve publishes the ready replicas and answers who waits.
func (a *actor) serve() {
	if a.drain != nil {
		a.drain()
		a.drain = nil
	}
	a.publish()
	a.watchReady()
	a.startRest()
	if ready := a.endpoints(); len(ready) > 0 {
		for i, waiter := range a.waiters {
			waiter <- answer{endpoint: ready[i%len(ready)]}
		}
		a.waiters = nil
	}
	a.scheduleIdle()
}

func (a *actor) stopAll() {
	for _, r := range a.replicas {
		r.order(a.sleepWant())
	}
	a.checkStopped()
}

func (a *actor) sleepWant() want {
	switch a.depth {
	case fleet.SleepPause:
		return wantPaused
	case fleet.SleepDeep:
		return wantDeep
	}
	return wantDown
}

func (a *actor) answerAll(with answer) {
	for _, waiter := range a.waiters {
		waiter <- with
	}
	a.waiters = nil
}

// endpoints are the replicas that traffic may be sent to.
func (a *actor) endpoints() []fleet.Endpoint {
	if a.print == nil || a.print.port == 0 {
		return nil
	}
	var list []fleet.Endpoint
	for _, r := range a.replicas {
		if e, ok := r.endpoint(); ok {
			list = append(list, e)
		}
	}
	return list
}

// publish tells the data plane what the service is now. One that is being
// removed is told of no more.
func (a *actor) publish() {
	if a.removing {
		return
	}
	routed := fleet.Routed{Name: a.name, Revision: a.desired.Revision, Status: a.status(), DownSince: a.downSince}
	if a.print != nil {
		routed.Spec, routed.Port = a.print.spec, a.print.port
	} else {
		routed.Spec = a.newest
	}
	if a.power == powerAwake {
		routed.Endpoints = a.endpoints()
	}
	a.version = a.engine.board.put(routed)
}

// received takes a driver's report.
func (a *actor) received(r *replica, what report) {
	a.noteDown()
	if !slices.Contains(a.replicas, r) || a.removing && what.kind != reportSettled {
		return // of a rollout or a remove: its job looks by itself
	}
	switch what.kind {
	case reportReady:
		if r.look().state != stateReady {
			return // it has ended since, and that is told next
		}
		r.watchHealth()
		a.transition(eventReady)
	case reportFailed:
		a.startFailed(r, what.err)
	case reportDied:
		a.appEnded(r, what)
	case reportSettled:
		if r.look().state == stateGone {
			a.replicas = slices.DeleteFunc(a.replicas, func(other *replica) bool { return other == r })
		}
		a.checkStopped()
	}
}

// startFailed decides what a replica that did not come up means for the service.
func (a *actor) startFailed(r *replica, err error) {
	if errors.Is(err, errNotWanted) {
		a.checkStopped()
		return
	}
	a.log.Warn("Cannot bring a replica where it is wanted", "replica", r.name(), "node", r.node, "error", err)
	switch a.power {
	case powerStopping, powerWanted:
		a.engine.record(fleet.Event{Type: fleet.EventWarning, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("cannot put %s to sleep: %s", r.name(), err)})
		a.checkStopped()
	case powerWaking:
		a.failure = wakeError(a.name, err)
		a.startRest()
		if !a.anyOnTheWay() {
			a.engine.record(fleet.Event{Type: fleet.EventFailed, Service: a.name, Container: r.name(), NodeID: r.node, Message: fmt.Sprintf("%s cannot be woken: %s", a.name, err)})
			a.transition(eventStartFailed)
		}
	case powerAwake:
		a.restartLater(r, err)
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

// anyOnTheWay says whether a replica is ready or being started.
func (a *actor) anyOnTheWay() bool {
	for _, r := range a.replicas {
		if v := r.look(); v.serves() || v.onTheWay() {
			return true
		}
	}
	return false
}

// checkStopped moves on from stopping when nothing runs any more.
func (a *actor) checkStopped() {
	if a.power != powerStopping && a.power != powerWanted {
		return
	}
	for _, r := range a.replicas {
		if v := r.look(); v.runs() && v.lastError == nil {
			return
		}
	}
	a.awakeAt = time.Time{}
	a.transition(eventStopped)
}

// noteDown keeps downSince: when the last running app ended.
func (a *actor) noteDown() {
	running := slices.ContainsFunc(a.replicas, func(r *replica) bool {
		v := r.look()
		return v.state == stateReady || v.state == stateUnhealthy || v.state == stateStarting
	})
	switch {
	case running:
		a.downSince = time.Time{}
	case a.downSince.IsZero():
		a.downSince = time.Now()
	}
}
