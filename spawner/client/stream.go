package client

import (
	"context"
	"errors"
	"time"

	"edgespawner/fleet"
)

const (
	// silence is how long a stream may say nothing, not even a comment, before it
	// counts as broken; the spawner writes one every 15 s.
	silence = 45 * time.Second
	// followAway is how long the spawner may be away from a stream that stood.
	followAway = 10 * time.Minute
	// followWaitMax is the longest pause before the next connection.
	followWaitMax = 5 * time.Second
)

// errBroken is a stream that ended without saying why.
var errBroken = errors.New("the connection broke")

// callbackError is an error of the caller's own function.
type callbackError struct{ error }

// follow reads one connection after another, each by read, until ctx ends, the
// caller's own function fails, the spawner refuses, or it stays away. Of a
// connection that stood and has ended read returns nil or errBroken.
func follow(ctx context.Context, read func() error) error {
	wait, heard, stood := retryWaitMin, time.Now(), false
	for {
		began := time.Now()
		err := read()
		var refused *fleet.Error
		var mine *callbackError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &mine):
			return mine.error
		case errors.As(err, &refused) && refused.Kind != fleet.Unavailable:
			return err
		case err == nil, errors.Is(err, errBroken):
			stood, heard = true, time.Now()
			if heard.Sub(began) > time.Second {
				wait = retryWaitMin
			}
		case !stood, time.Since(heard) > followAway:
			return err // it was asked a few times
		}
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		wait = min(2*wait, followWaitMax)
	}
}
