package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"edgespawner/fleet"
)

// replicaState is where a replica's app stands.
type replicaState string

const (
	stateDown      replicaState = "down" // created, exited or not there
	statePaused    replicaState = "paused"
	stateStarting  replicaState = "starting" // started, not ready yet
	stateReady     replicaState = "ready"
	stateUnhealthy replicaState = "unhealthy" // runs, and its probes fail
	stateStopping  replicaState = "stopping"
	stateGone      replicaState = "gone" // both containers removed
)

// want is where a replica's driver is told to bring it.
type want string

const (
	wantAsIs   want = ""       // nothing has been said yet
	wantMade   want = "made"   // both containers there, the sandbox up, the app as it is
	wantUp     want = "up"     // app running and ready
	wantPaused want = "paused" // dozing
	wantDown   want = "down"   // app stopped, sandbox up
	wantDeep   want = "deep"   // both stopped
	wantGone   want = "gone"   // both removed
)

// replica is one running copy of a service as this process knows it. Its
// driver alone calls the engine of containers about it.
type replica struct {
	service string
	index   int
	node    string
	place   *claim // on the node, until both containers are gone
	print   *blueprint
	engine  *Engine
	log     *slog.Logger
	report  func(*replica, report) // posts to the actor; never blocks
	publish bool                   // its sandbox is to hold the service's host ports
	job     string                 // id of the job that made it, in this process or one before; empty = none did
	// fixedAddress says that every address of the sandbox is its own for good. The driver alone uses it.
	fixedAddress bool
	taken        []int         // ports for edges that something else was found to have; of the driver alone
	assumed      bool          // its node did not answer at the start: it is known from the store alone
	care         care          // of the actor alone
	signal       chan struct{} // capacity 1: want or gen changed
	ended        chan struct{} // closed when the driver has returned

	mu         sync.Mutex
	want       want
	generation int  // grows with every order, so that the same order given again is carried out again
	anew       bool // the app is to be stopped before it is brought up: it runs and cannot serve
	silent     bool // it ran and did not answer at its address: that may not be its own any more
	// unpublished: its sandbox was made without the host ports, which something else held.
	unpublished bool
	final       bool // it is to go, and that has not failed: no other order is taken any more
	// lost: neither its node nor it answers, so it gets no requests.
	lost    bool
	state   replicaState
	sandbox container
	app     container
	address netip.Addr // of the sandbox, on the network that edges use
	// published are ports of the node by those of the app, where edges reach it by them; nil = they do not.
	published    map[int]int
	reach        netip.Addr     // where these are; else zero
	stands       fleet.Standing // what the store knows of it
	startedAt    time.Time      // of the app's present life, by the engine's clock; zero while a start is under way
	lifeBefore   time.Time      // startedAt of the life before
	readyAt      time.Time      // by our clock; of the last life that became ready
	upSince      time.Time      // the same, until the end of that life has been counted
	lastError    error
	lastTry      error // of the probes since it is being started; nil = none has failed
	lastExit     string
	tries        tries                   // restarts
	ooms         time.Time               // when the engine last said that it ran out of memory
	killed       time.Time               // when somebody else last sent it a signal that ends it
	beginning    <-chan struct{}         // closes when the start that made it ready has been answered
	endBeginning context.CancelCauseFunc // ends that start; nil = there is none
	abort        context.CancelCauseFunc // of the wait for readiness under way; nil = none
	waiting      []waitingOrder
}

// care is what a service's actor knows of the troubles of a replica.
type care struct {
	watched   bool      // the prober looks at it
	heard     int       // the generation of the last order whose outcome was told
	pending   int       // the generation after which a start is due by a timer
	sick      error     // why its health check fails; nil = it does not
	answers   bool      // sick, and it answers its clients all the same
	asked     bool      // sick, and whether it answers is known or being asked
	askedAt   time.Time // when it was asked last, since its check cannot tell; zero = its check tells
	leaving   bool      // it is being taken off the edges, to be restarted
	restarted bool      // an event has said that it restarts, and none that it is healthy since
	gaveUp    bool      // it was restarted too often; while others serve it is tried again now and then
	drift     []string  // what tells its container from what was deployed
	atRest    bool      // it ended by itself, which nobody mends: its good right, or its fault
	fault     error     // how it failed, at rest since it is never restarted; nil = it did not
	suspended bool      // it was paused, and the engine has not said yet that it goes on
	stuck     string    // why it cannot be placed elsewhere although its node is down; it has been told
	judgedAt  time.Time // when the engine last told what its HEALTHCHECK says
}

// waitingOrder is somebody who waits for an order to be carried out.
type waitingOrder struct {
	generation int
	done       chan error // capacity 1
}

// container is what a replica knows of one of its two containers.
type container struct {
	id, name string
	running  bool
}

// report is what a driver tells the actor.
type report struct {
	kind       reportKind
	generation int    // of the order that was carried out; not of reportDied
	err        error  // reportFailed
	end        ending // reportDied
}

type reportKind string

const (
	reportReady   reportKind = "ready"
	reportFailed  reportKind = "failed"  // could not be brought where it is wanted
	reportDied    reportKind = "died"    // the app ended without being told to
	reportSettled reportKind = "settled" // down, paused, deep or gone as wanted
)

func (r *replica) name() string { return fleet.ReplicaName(r.service, r.index) }

func (r *replica) where() string { return r.node }

// order tells the driver where to bring the replica. It never waits. A start
// under way that is no longer wanted is let go.
func (r *replica) order(w want) { r.orderWith(w, false, nil) }

// orderAnew has the app stopped, if it runs, and brought up again: one order, so
// that the second half never takes the place of the first.
func (r *replica) orderAnew() { r.orderWith(wantUp, true, nil) }

// orderAndWait orders and waits until that has been carried out, has failed, or
// a later order has taken its place (errNotWanted). A node that falls silent is
// not waited for: Unavailable, and the order stands for when it answers again.
func (r *replica) orderAndWait(ctx context.Context, w want) error {
	done := make(chan error, 1)
	r.orderWith(w, false, done)
	select {
	case err := <-done:
		return err
	case <-r.ended:
		select {
		case err := <-done:
			return err
		default:
		}
		if r.look().state != stateGone {
			return errShutdown
		}
		if w != wantGone {
			return errNotWanted
		}
		return nil // it went before
	case <-r.engine.members.silence(r.node):
		return silentError(r.node)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answerOrders answers who waits for an order up to that generation.
func (r *replica) answerOrders(generation int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := r.waiting
	r.waiting = nil
	for _, w := range waiting {
		switch {
		case w.generation == generation:
			w.done <- err
		case w.generation < generation:
			w.done <- errNotWanted
		default:
			r.waiting = append(r.waiting, w)
		}
	}
}

func (r *replica) orderWith(w want, anew bool, done chan error) {
	r.mu.Lock()
	if r.final && w != wantGone {
		r.mu.Unlock()
		if done != nil {
			done <- errNotWanted
		}
		return
	}
	r.want = w
	r.final = w == wantGone
	r.anew = anew || r.anew && w == wantUp
	r.lastError, r.lastTry = nil, nil // of an order before
	r.generation++
	if done != nil {
		r.waiting = append(r.waiting, waitingOrder{r.generation, done})
	}
	if w != wantUp && r.abort != nil {
		r.abort(errNotWanted)
	}
	r.mu.Unlock()
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

func (r *replica) orders() (want, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want, r.generation
}

// view is a copy of a replica's changing part.
type view struct {
	want      want
	state     replicaState
	sandbox   container
	app       container
	address   netip.Addr
	readyAt   time.Time
	lastError error
	lastExit  string
	restarts  int
	lost      bool
	published map[int]int // never changed
	reach     netip.Addr
}

func (r *replica) look() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return view{r.want, r.state, r.sandbox, r.app, r.address, r.readyAt, r.lastError, r.lastExit, r.tries.inRow, r.lost, r.published, r.reach}
}

func (r *replica) setState(s replicaState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setStateLocked(s)
}

func (r *replica) setStateLocked(s replicaState) {
	if r.state == s {
		return
	}
	r.log.Debug("Replica changed state", "from", r.state, "to", s)
	r.state = s
	r.app.running = s == stateStarting || s == stateReady || s == stateUnhealthy
}

// status is Docker's word for the state of the app.
func (v view) status() fleet.ContainerStatus {
	switch v.state {
	case statePaused:
		return fleet.ContainerPaused
	case stateStarting, stateReady, stateUnhealthy, stateStopping:
		return fleet.ContainerRunning
	case stateGone:
		return fleet.ContainerMissing
	}
	if v.app.id == "" {
		return fleet.ContainerMissing
	}
	if v.readyAt.IsZero() && v.lastExit == "" {
		return fleet.ContainerCreated
	}
	return fleet.ContainerExited
}

func (v view) health() fleet.Health {
	if v.lost && v.state != stateUnhealthy { // nobody can say how it is
		return fleet.Unknown
	}
	switch v.state {
	case stateReady:
		return fleet.Healthy
	case stateUnhealthy:
		return fleet.Unhealthy
	case stateStarting:
		return fleet.Starting
	}
	return fleet.Unknown
}

// serves says whether it is ready and is to stay so.
func (v view) serves() bool { return v.state == stateReady && v.want == wantUp && !v.lost }

// onTheWay says whether it is being brought up, or is to be.
func (v view) onTheWay() bool {
	return v.want == wantUp && v.lastError == nil && v.state != stateReady
}

// runs says whether the app's process exists and is not paused.
func (v view) runs() bool {
	return v.state == stateStarting || v.state == stateReady || v.state == stateUnhealthy || v.state == stateStopping
}
