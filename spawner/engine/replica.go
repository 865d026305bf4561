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
	print   *blueprint
	engine  *Engine
	log     *slog.Logger
	report  func(*replica, report) // posts to the actor; never blocks
	publish bool                   // its sandbox is to hold the service's host ports
	// fixedAddress says that every address of the sandbox is its own for good. The driver alone uses it.
	fixedAddress bool
	watched      bool          // the prober looks at it; of the actor alone
	signal       chan struct{} // capacity 1: want or gen changed
	ended        chan struct{} // closed when the driver has returned

	mu         sync.Mutex
	want       want
	generation int  // grows with every order, so that the same order given again is carried out again
	anew       bool // the app is to be stopped before it is brought up: it runs and cannot serve
	// unpublished: its sandbox was made without the host ports, which something else held.
	unpublished bool
	final       bool // it is to go, and that has not failed: no other order is taken any more
	state       replicaState
	sandbox     container
	app         container
	address     netip.Addr // of the sandbox, on the network that edges use
	startedAt   time.Time  // of the app's present life, by the engine's clock; zero while a start is under way
	lifeBefore  time.Time  // startedAt of the life before
	readyAt     time.Time  // by our clock; of the last life that became ready
	upSince     time.Time  // the same, until the end of that life has been counted
	lastError   error
	lastExit    string
	restarts    int                     // since it was up for long
	beginning   <-chan struct{}         // closes when the start that made it ready has been answered
	abort       context.CancelCauseFunc // of the wait for readiness under way; nil = none
	waiting     []waitingOrder
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
	kind     reportKind
	err      error // reportFailed
	exit     int   // reportDied
	exitText string
}

type reportKind string

const (
	reportReady   reportKind = "ready"
	reportFailed  reportKind = "failed"  // could not be brought where it is wanted
	reportDied    reportKind = "died"    // the app ended without being told to
	reportSettled reportKind = "settled" // down, paused, deep or gone as wanted
)

func (r *replica) name() string { return fleet.ReplicaName(r.service, r.index) }

// order tells the driver where to bring the replica. It never waits. A start
// under way that is no longer wanted is let go.
func (r *replica) order(w want) { r.orderWith(w, false, nil) }

// orderAnew has the app stopped, if it runs, and brought up again: one order, so
// that the second half never takes the place of the first.
func (r *replica) orderAnew() { r.orderWith(wantUp, true, nil) }

// orderAndWait orders and waits until that has been carried out, has failed, or
// a later order has taken its place (errNotWanted).
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
	r.lastError = nil // of an order before
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
}

func (r *replica) look() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return view{r.want, r.state, r.sandbox, r.app, r.address, r.readyAt, r.lastError, r.lastExit, r.restarts}
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
func (v view) serves() bool { return v.state == stateReady && v.want == wantUp }

// onTheWay says whether it is being brought up, or is to be.
func (v view) onTheWay() bool {
	return v.want == wantUp && v.lastError == nil && v.state != stateReady
}

// runs says whether the app's process exists and is not paused.
func (v view) runs() bool {
	return v.state == stateStarting || v.state == stateReady || v.state == stateUnhealthy || v.state == stateStopping
}
