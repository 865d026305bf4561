package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// awaitReady begins the app and probes it side by side, and returns when a probe
// succeeds: an app often answers before the engine has said that it started it.
// Nothing else can answer at the sandbox's address, since the app was down. What
// becomes of begin is waited for before the driver does anything else; that the
// app is ready does not end it, since one that somebody else has started answers
// while its start here still waits for its turn.
func (r *replica) awaitReady(ctx context.Context, begin func(context.Context) error) error {
	beginning, end := context.WithCancelCause(ctx)
	if !r.abortBy(end) {
		end(nil)
		return errNotWanted
	}
	defer r.abortBy(nil)
	limit := startPatience*r.print.startLimit() + r.print.check.Settle.Std()
	timed, ended := context.WithTimeoutCause(beginning, limit, fleet.Errorf(fleet.Timeout, "%s is not ready %s after its start", r.name(), limit))
	defer ended()
	defer context.AfterFunc(timed, func() { end(context.Cause(timed)) })()
	probing, fail := context.WithCancelCause(timed)
	defer fail(nil)
	begun := make(chan error, 1)
	r.engine.group.Go(func() {
		err := begin(beginning)
		if err != nil {
			fail(err)
		}
		begun <- err
	})
	if r.print.check.Type == fleet.CheckNone { // its delay counts from the start
		if err := <-begun; err != nil {
			return err
		}
		begun <- nil
	}
	target := r.target()
	target.Tried = r.noteTry
	err := r.engine.prober.Await(probing, target, r.print.check)
	if err == nil {
		r.becameReady(beginning, begun, end)
		return nil
	}
	beginErr := <-begun
	defer end(nil)
	switch cause := context.Cause(probing); {
	case beginErr != nil:
		return beginErr
	case errors.Is(cause, errDied):
		return r.died(ctx)
	case cause != nil:
		return cause
	}
	return fmt.Errorf("%s did not become ready: %w", r.name(), err)
}

// noteTry keeps what the last probe of a replica that is being started found.
func (r *replica) noteTry(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastTry = err
}

// unready says what is missing to a replica that is being started.
func (r *replica) unready() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("its %s check has not succeeded", r.print.check.Type)
	if r.lastTry != nil {
		text += ": " + r.lastTry.Error()
	}
	return text
}

// abortBy sets what ends the wait for readiness when it is not wanted any more
// (nil = nothing to end); false when it is not wanted now.
func (r *replica) abortBy(cancel context.CancelCauseFunc) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cancel != nil && r.want != wantUp {
		return false
	}
	r.abort = cancel
	return true
}

// becameReady makes the replica ready. If the engine says later that it never
// began a new life, the app that answered was ending: it died. End lets go of a
// beginning that still waits for its turn, when something else is wanted.
func (r *replica) becameReady(beginning context.Context, begun <-chan error, end context.CancelCauseFunc) {
	settled := make(chan struct{})
	r.mu.Lock()
	r.setStateLocked(stateReady)
	r.readyAt = time.Now()
	r.upSince = r.readyAt
	r.beginning, r.endBeginning, r.abort = settled, end, nil
	r.mu.Unlock()
	r.engine.group.Go(func() {
		defer close(settled)
		defer end(nil)
		err := r.outcomeOf(beginning, <-begun)
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case err == nil && r.state == stateDown:
			r.startedAt = time.Time{} // the end that was taken in was that of a life before this one
		case err != nil && r.state == stateReady && beginning.Err() == nil:
			r.setStateLocked(stateDown)
			r.lastExit = err.Error()
			r.report(r, report{kind: reportDied, end: ending{code: -1, said: err.Error()}})
		}
	})
}

// outcomeOf is what became of the start of an app that answers already. An engine
// that has not said it is asked until it does: its silence is no end of the app.
func (r *replica) outcomeOf(ctx context.Context, err error) error {
	for {
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case slices.Contains([]fleet.Kind{fleet.NotFound, fleet.Conflict, fleet.BadGateway}, fleet.KindOf(err)):
			return err
		}
		if pause(ctx, relistPause); ctx.Err() == nil {
			err = r.proveStarted(ctx)
		}
	}
}

// letGo ends a start that made the app ready and has not been answered: what still
// waits for its turn is not carried out, and what became of the rest is not asked.
func (r *replica) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.endBeginning != nil {
		r.endBeginning(errNotWanted)
		r.endBeginning = nil
	}
}

// begun returns what closes when the start that made the app ready has been answered.
func (r *replica) begun() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beginning
}

// proven waits until the engine has answered the start of an app that is ready,
// and says whether it still is.
func (r *replica) proven(ctx context.Context) error {
	select {
	case <-r.begun():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if v := r.look(); !v.serves() {
		return fleet.Errorf(fleet.BadGateway, "%s was ready and did not stay so: %s", r.name(), v.lastExit)
	}
	return nil
}

// proveStarted inspects the app after a start. An engine answers a start of
// an app that is just ending as if it were done; that one is started again.
func (r *replica) proveStarted(ctx context.Context) error {
	c, err := r.engine.containers.Inspect(context.WithoutCancel(ctx), r.node, r.look().app.id)
	if err != nil {
		return fmt.Errorf("cannot inspect %s: %w", r.name(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.StartedAt.After(r.lifeBefore) {
		return fleet.Errorf(fleet.Conflict, "%s was ending when it was started", r.name())
	}
	r.startedAt = c.StartedAt
	if c.Status != fleet.ContainerRunning {
		return exitError(r.name(), c)
	}
	return nil
}

// died says why an app ended before it was ready.
func (r *replica) died(ctx context.Context) error {
	c, err := r.engine.containers.Inspect(context.WithoutCancel(ctx), r.node, r.look().app.id)
	if err != nil {
		return fmt.Errorf("cannot inspect %s after it ended: %w", r.name(), err)
	}
	return exitError(r.name(), c)
}

// exitError is an app's end before it was ready, in words for the user.
func exitError(name string, c fleet.Container) error {
	switch {
	case c.OOMKilled:
		return fleet.Errorf(fleet.BadGateway, "%s was killed for want of memory before it was ready (exit code %d)", name, c.ExitCode)
	case c.Error != "":
		return fleet.Errorf(fleet.BadGateway, "%s cannot be started: %s", name, c.Error)
	}
	return fleet.Errorf(fleet.BadGateway, "%s exited with code %d before it was ready", name, c.ExitCode)
}
