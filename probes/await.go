package probes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// The cadence of a wake. The pause before the next try grows with the time
// already waited, so that what a try costs and what its lateness costs stay in
// proportion: an app that is ready after 80 ms is seen a millisecond or two later, one
// that takes a minute is not asked a thousand times a second.
const (
	leastConnect = 50 * time.Millisecond // a lost SYN is not waited for longer, at first
	mostDialStep = 100 * time.Millisecond
	mostHTTPStep = 250 * time.Millisecond
	mostExecStep = 500 * time.Millisecond
	// portPatience is how long a command waits for the service's port to open:
	// a dial costs a hundredth of an exec, and an app that does not listen yet
	// would only be slowed down by commands run inside it.
	portPatience = time.Second
)

// Await probes a replica at the cadence of a wake until the first success, or as
// many in a row as the check asks for. It returns nil then, or, when ctx ends, an
// error that says what was waited for, why the last try failed, and wraps ctx's.
func (p *Prober) Await(ctx context.Context, t Target, check fleet.HealthCheck) error {
	check = check.WithDefaults()
	began := time.Now()
	if check.Type == fleet.CheckNone {
		return settle(ctx, t, check.Settle.Std())
	}
	last := error(nil)
	if (check.Type == fleet.CheckCommand || check.Type == fleet.CheckDocker) && t.Port != 0 {
		last = awaitPort(ctx, t, began)
	}
	for successes := 0; ; {
		tried := time.Now()
		err := p.probe(ctx, t, check, connectLimit(time.Since(began), check.Timeout.Std()))
		if err == nil {
			if successes++; successes >= check.Successes {
				return nil
			}
			err = fmt.Errorf("%d of %d probes in a row succeeded", successes, check.Successes)
		} else {
			successes = 0
		}
		if ctx.Err() == nil || last == nil {
			last = err // an error that ctx's end itself caused says nothing new
			if t.Tried != nil {
				t.Tried(err)
			}
		}
		if !pause(ctx, step(check.Type, err, time.Since(began), time.Since(tried))) {
			return notReady(ctx, t, check, last)
		}
	}
}

// awaitPort returns when the service's port accepts, or after portPatience.
func awaitPort(ctx context.Context, t Target, began time.Time) error {
	for {
		conn, err := dial(ctx, t.address(t.Port), connectLimit(time.Since(began), portPatience))
		if err == nil {
			return hangUp(conn)
		}
		waited := time.Since(began)
		if waited >= portPatience || !pause(ctx, step(fleet.CheckTCP, err, waited, 0)) {
			return err
		}
	}
}

// connectLimit bounds one attempt to connect: a SYN that was lost while the
// network came up is sent again soon, a distant node still gets its time.
func connectLimit(waited, timeout time.Duration) time.Duration {
	return min(max(leastConnect, waited/4), timeout)
}

// step returns the pause after a try that failed with err and took that long.
func step(kind fleet.CheckType, err error, waited, took time.Duration) time.Duration {
	var refused *errConnect
	switch {
	case errors.As(err, &refused):
		return min(max(time.Millisecond, waited/50), mostDialStep)
	case kind == fleet.CheckCommand, kind == fleet.CheckDocker:
		return min(max(10*time.Millisecond, waited/10, took/2), mostExecStep)
	default:
		return min(max(5*time.Millisecond, waited/20), mostHTTPStep)
	}
}

// settle waits a fixed delay.
func settle(ctx context.Context, t Target, delay time.Duration) error {
	if pause(ctx, delay) {
		return nil
	}
	return fmt.Errorf("%s was not ready: waited for its settling delay of %s: %w", t.Replica, delay, context.Cause(ctx))
}

// notReady says what was waited for in vain.
func notReady(ctx context.Context, t Target, check fleet.HealthCheck, last error) error {
	return fmt.Errorf("%s was not ready: waited for its %s check, last: %w (%w)", t.Replica, check.Type, last, context.Cause(ctx))
}

// pause waits, and says whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
