package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

var (
	errNotWanted = errors.New("it is not wanted any more")
	errDied      = errors.New("the app ended")
)

// Attempts and limits of one start.
const (
	startPatience = 2                     // times what a job waits for: then an app that hangs in its start is stopped
	startAttempts = 5                     // of a start that met containers in a state that can be mended
	startPause    = 20 * time.Millisecond // after the first of them, doubling
	callTimeout   = 2 * time.Minute       // of one call that makes or starts a container
	mostTaken     = 50                    // ports of a node, or addresses, that others have, before a start is given up
	stopMargin    = 20 * time.Second      // that a stop may take beyond its grace
)

// drive brings the replica where it is wanted, one order after another, until
// it is gone or ctx ends. A failed order is reported and not tried again: when
// to do so is for the actor to say.
func (r *replica) drive(ctx context.Context) {
	defer close(r.ended)
	done := 0
	for {
		w, generation := r.orders()
		if generation == done || w == wantAsIs {
			select {
			case <-r.signal:
				continue
			case <-ctx.Done():
				return
			}
		}
		r.letGo()
		<-r.begun() // a call that starts the app may still be under way
		err := r.carryOut(ctx, w)
		done = generation
		if ctx.Err() != nil {
			return
		}
		r.answerOrders(generation, err)
		if _, now := r.orders(); now != generation {
			continue // another order came meanwhile: only its outcome counts
		}
		r.tell(w, generation, err)
		if w == wantGone && err == nil {
			return
		}
	}
}

func (r *replica) carryOut(ctx context.Context, w want) error {
	switch w {
	case wantUp:
		return r.up(ctx)
	case wantMade:
		return r.make(ctx)
	case wantPaused:
		return r.pause(ctx)
	case wantDown:
		return r.down(ctx)
	case wantDeep:
		return r.deep(ctx)
	case wantGone:
		return r.remove(ctx)
	}
	return nil
}

func (r *replica) tell(w want, generation int, err error) {
	r.mu.Lock()
	r.lastError = err
	r.final = r.final && err == nil
	r.mu.Unlock()
	switch {
	case err != nil:
		r.report(r, report{kind: reportFailed, generation: generation, err: err})
	case w == wantUp:
		r.report(r, report{kind: reportReady, generation: generation})
	default:
		r.report(r, report{kind: reportSettled, generation: generation})
	}
}

// up brings the app up and returns when it is ready. Containers that someone
// removed or stopped behind our back are mended on the way.
func (r *replica) up(ctx context.Context) error {
	if r.cannotServe() {
		if err := r.down(ctx); err != nil {
			return err
		}
	}
	if r.unheard() {
		if err := r.leaveLostNetwork(ctx); err != nil {
			return err
		}
	}
	if r.look().state == stateReady {
		return nil
	}
	for attempt := 0; ; attempt++ {
		err := r.upOnce(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, errNotWanted) {
			return err // not wanted: the order that came instead ends what was begun
		}
		again := attempt+1 < startAttempts && (worthAnotherStart(err, attempt) || r.goOnUnpublished(err))
		if again {
			if repairErr := r.repair(ctx, err); repairErr != nil {
				return repairErr
			}
		}
		if fleet.KindOf(err) == fleet.BadGateway {
			r.setState(stateDown) // the engine has said that it ended
		} else if downErr := r.endBegun(ctx); again && downErr != nil {
			return downErr
		}
		if !again {
			return err
		}
		if !r.pauseBetweenStarts(ctx, attempt) {
			return errNotWanted
		}
	}
}

// pauseBetweenStarts gives what somebody else does to the containers, such as to
// remove them, a moment to come to its end. It says whether the replica is still wanted up.
func (r *replica) pauseBetweenStarts(ctx context.Context, attempt int) bool {
	select {
	case <-time.After(startPause << attempt):
	case <-ctx.Done():
	}
	w, _ := r.orders()
	return w == wantUp && ctx.Err() == nil
}

// cannotServe says whether the app may run and has to be stopped before a start
// can be of use. To start one that runs does nothing, and the engine says "done".
func (r *replica) cannotServe() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew := r.anew
	r.anew = false
	orphan := r.state == statePaused && !r.sandbox.running // it would go on in a network that is gone
	return anew || orphan || r.state == stateStarting || r.state == stateUnhealthy || r.state == stateStopping
}

// endBegun stops an app whose start failed in a way that leaves open whether it runs.
func (r *replica) endBegun(ctx context.Context) error {
	if r.look().state != stateStarting {
		return nil
	}
	err := r.down(ctx)
	if err != nil {
		r.log.Warn("Cannot stop an app that did not start well", "error", err)
	}
	return err
}

// worthAnotherStart says whether a start failed for what may have passed or can
// be mended: containers that were removed, stopped or ending behind our back,
// and an app that ended once before it was ready.
func worthAnotherStart(err error, attempt int) bool {
	var e *fleet.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case fleet.NotFound, fleet.Conflict:
		return e.Field == "" || e.Field == fieldSandbox || e.Field == fieldNetworks || e.Field == fieldAddress
	case fleet.BadGateway:
		return attempt == 0
	}
	return false
}

// The fields of the containers' errors that a repair goes by.
const (
	fieldSandbox   = "sandbox"    // the sandbox that an app is to join is gone or down
	fieldNetworks  = "networks"   // a network of the sandbox is gone; one of the same name is not the same to it
	fieldAddress   = "address"    // somebody else has the sandbox's fixed address
	fieldPortRange = "port_range" // no port of it is free
	fieldName      = "name"       // another container has the name; of no repair, only of another attempt
)

// repair finds out what has become of the containers after a failed start, and
// takes away those that can never start again.
func (r *replica) repair(ctx context.Context, cause error) error {
	var e *fleet.Error
	if errors.As(cause, &e) && (e.Field == fieldNetworks || e.Field == fieldAddress || e.Field == fieldHostPort) {
		if err := r.removeContainers(ctx); err != nil {
			return err
		}
	}
	return r.observe(ctx)
}

func (r *replica) upOnce(ctx context.Context) error {
	switch v := r.look(); {
	case v.state == statePaused && v.sandbox.running:
		return r.unpause(ctx)
	case v.state == statePaused: // it has no network to go on in
		if err := r.down(ctx); err != nil {
			return err
		}
	}
	if err := r.make(ctx); err != nil {
		return err
	}
	r.beginLife()
	return r.awaitReady(ctx, func(ctx context.Context) error {
		if err := r.startApp(ctx); err != nil {
			return err
		}
		return r.proveStarted(ctx)
	})
}

// make creates both containers and starts the sandbox; the app stays as it is.
// A port for edges, or an address, that something else has is given up for another.
func (r *replica) make(ctx context.Context) error {
	defer r.noteStanding()
	for tries := 1; ; tries++ {
		err := r.makeOnce(ctx)
		if err == nil || tries > mostTaken || !r.anotherPort(err) && !r.anotherAddress(err) {
			return err
		}
		if err := r.repair(ctx, err); err != nil {
			return err
		}
	}
}

func (r *replica) makeOnce(ctx context.Context) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	return r.startSandbox(ctx)
}

func (r *replica) unpause(ctx context.Context) error {
	r.setState(stateStarting)
	return r.awaitReady(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := r.engine.freezer.Unpause(ctx, r.node, r.look().app.id); err != nil {
			return fmt.Errorf("cannot unpause %s: %w", r.name(), err)
		}
		return r.proveSandbox(ctx)
	})
}

// proveSandbox says whether an app that runs or was unpaused still has its
// network: the sandbox may have gone, or begun anew, while nobody was told.
func (r *replica) proveSandbox(ctx context.Context) error {
	c, err := r.engine.containers.Inspect(ctx, r.node, r.look().sandbox.id)
	if err != nil {
		return fmt.Errorf("cannot inspect the sandbox of %s: %w", r.name(), err)
	}
	if _, err := r.engine.networks.addressOf(r, c); err != nil && c.Status == fleet.ContainerRunning {
		return err // somebody took it off its network
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Status != fleet.ContainerRunning || !r.startedAt.IsZero() && c.StartedAt.After(r.startedAt) {
		return &fleet.Error{Kind: fleet.Conflict, Field: fieldSandbox, Message: "the sandbox of " + r.name() + " is not up, or began after it"}
	}
	return nil
}

// startSandbox starts the sandbox if it is down and learns its address.
func (r *replica) startSandbox(ctx context.Context) error {
	v := r.look()
	if v.sandbox.running && v.address.IsValid() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !v.sandbox.running {
		if err := r.engine.settleAddresses(ctx, r); err != nil {
			return err
		}
		if err := r.engine.containers.Start(ctx, r.node, v.sandbox.id); err != nil {
			return fmt.Errorf("cannot start the sandbox of %s: %w", r.name(), err)
		}
	}
	c, err := r.engine.containers.Inspect(ctx, r.node, v.sandbox.id)
	if err != nil {
		return fmt.Errorf("cannot inspect the sandbox of %s: %w", r.name(), err)
	}
	address, err := r.engine.networks.addressOf(r, c)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandbox.running = c.Status == fleet.ContainerRunning
	r.address = address
	if r.published != nil {
		r.address = r.reach
	}
	if !r.sandbox.running {
		return fleet.Errorf(fleet.Conflict, "the sandbox of %s does not stay up: %s", r.name(), c.Error)
	}
	return nil
}

// startApp starts the app, in its turn on the node. The call has a context of
// its own: an engine goes on with a start when its caller has left.
func (r *replica) startApp(ctx context.Context) error {
	release, err := r.engine.starts.acquire(ctx, r.node)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", r.name(), err)
	}
	defer release()
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := r.engine.containers.Start(call, r.node, r.look().app.id); err != nil {
		return fmt.Errorf("cannot start %s: %w", r.name(), err)
	}
	return nil
}

// beginLife notes that the app is being started: until the engine has said when
// its new life began, that is unknown.
func (r *replica) beginLife() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setStateLocked(stateStarting)
	if !r.startedAt.IsZero() {
		r.lifeBefore = r.startedAt
	}
	r.startedAt = time.Time{}
}

func (r *replica) pause(ctx context.Context) error {
	v := r.look()
	if v.state != stateReady && v.state != stateUnhealthy {
		return r.down(ctx) // deeper than asked for; also an app that has only been begun
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.engine.freezer.Pause(ctx, r.node, v.app.id); err != nil {
		return fmt.Errorf("cannot pause %s: %w", r.name(), err)
	}
	r.setState(statePaused)
	return nil
}

func (r *replica) down(ctx context.Context) error {
	v := r.look()
	if v.state == stateDown || v.state == stateGone || v.app.id == "" {
		return nil
	}
	grace := r.print.spec.StopGrace.Std()
	r.setState(stateStopping)
	ctx, cancel := context.WithTimeout(ctx, grace+stopMargin)
	defer cancel()
	if err := r.engine.containers.Stop(ctx, r.node, v.app.id, grace); err != nil && fleet.KindOf(err) != fleet.NotFound {
		return fmt.Errorf("cannot stop %s: %w", r.name(), err)
	}
	r.setState(stateDown)
	return nil
}

func (r *replica) deep(ctx context.Context) error {
	if err := r.down(ctx); err != nil {
		return err
	}
	v := r.look()
	if v.sandbox.id == "" || !v.sandbox.running {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.engine.containers.Stop(ctx, r.node, v.sandbox.id, time.Second); err != nil && fleet.KindOf(err) != fleet.NotFound {
		return fmt.Errorf("cannot stop the sandbox of %s: %w", r.name(), err)
	}
	r.mu.Lock()
	r.sandbox.running = false
	r.mu.Unlock()
	return r.publishAgain(ctx)
}
