package engine

import (
	"context"
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
	unplaced  string          // why the last replicas that were to be placed were not; empty = they were
	watchers  []powerWatcher
	job       *fleet.Job         // that runs now; nil = none
	drain     context.CancelFunc // ends the draining under way; nil = none
	drains    int                // that have begun; the outcome of an earlier one is nothing
	version   uint64             // of the snapshot that holds what was published last
	downSince time.Time          // when the last running app ended; zero while one runs, or when cutOff
	cutOff    bool               // an app that ran went with its network or its node, and none has served since
	awakeAt   time.Time
	wakeBegan time.Time // of the wake under way; zero = there is none, or it had nothing to start
	wakeTold  bool      // an event has said that it is being woken
	idleTimer *time.Timer
	idleWhy   string // the last verdict's reason
	lastWake  string
	lastSleep string
	relief    relief
	lacks     converging
	stalled   bool // the last wake failed because a node did not answer
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
		a.observePower(from, to)
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
	var list, last []fleet.Endpoint
	for _, r := range a.replicas {
		e, ok := r.endpoint()
		switch {
		case !ok:
		case r.look().serves():
			list = append(list, e)
		default:
			last = append(last, e)
		}
	}
	if len(list) == 0 {
		return last // a failed health check alone takes the last one from nobody
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
	if what.kind != reportDied {
		r.care.heard = what.generation
	}
	if !slices.Contains(a.replicas, r) || a.removing && what.kind != reportSettled {
		return // of a rollout or a remove: its job looks by itself
	}
	switch what.kind {
	case reportReady:
		if r.look().state != stateReady {
			return // it has ended since, and that is told next
		}
		r.care.sick, r.care.atRest, r.care.fault = nil, false, nil
		a.tellHealthyAgain(r)
		r.watchHealth()
		a.transition(eventReady)
		if len(r.care.drift) > 0 { // its container may be a new one
			a.lookForDrift(r)
		}
		a.mend()
	case reportFailed:
		a.startFailed(r, what.err)
	case reportDied:
		a.appEnded(r, what.end)
	case reportSettled:
		if r.look().state == stateGone {
			a.replicas = slices.DeleteFunc(a.replicas, func(other *replica) bool { return other == r })
		}
		a.checkStopped()
	}
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

// noteDown keeps downSince: when the last running app ended. Of one that was cut
// off nobody can say it: no packet told its clients, and a request that it had in
// hand comes back when the edge's kernel gives it up, long after.
func (a *actor) noteDown() {
	if slices.ContainsFunc(a.replicas, func(r *replica) bool { return r.look().serves() }) {
		a.cutOff = false
	}
	running := slices.ContainsFunc(a.replicas, func(r *replica) bool {
		v := r.look()
		return v.state == stateReady || v.state == stateUnhealthy || v.state == stateStarting
	})
	switch {
	case running, a.cutOff:
		a.downSince = time.Time{}
	case a.downSince.IsZero():
		a.downSince = time.Now()
	}
}
