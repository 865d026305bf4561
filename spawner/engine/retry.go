package engine

import (
	"errors"
	"time"

	"edgespawner/fleet"
)

// How a step that failed for what may pass is tried again.
const (
	retryFirst    = time.Second      // before the second attempt; doubling
	retryCap      = 15 * time.Second // between two attempts
	retryAttempts = 6                // about half a minute of pauses: an engine that is being restarted
	nameRetries   = 3                // for a name that is just being given free
	retryPatience = time.Minute      // with an engine or a registry that says itself when to come again
)

// retry says whether a step is tried again after its attempt number n (from 1)
// failed, and after what pause. Only for what may pass by itself:
//
//	unavailable   the engine, a node or a registry does not answer, is busy or answers 5xx
//	busy          a registry asks for a pause
//	not found     about a network: it was made before, and the engine's swarm has not told it yet
//	conflict      about a container's name: one that is being removed has it
//
// An image that no registry has, a spec that an engine refuses, a port that
// something else holds, an app that ends, an edge that refuses a route, a step
// that took too long: none of these is better the second time.
func retry(err error, n int) (pause time.Duration, again bool) {
	var e *fleet.Error
	if !errors.As(err, &e) || errors.Is(err, errShutdown) {
		return 0, false
	}
	most := retryAttempts
	switch {
	case e.Kind == fleet.Unavailable, e.Kind == fleet.Busy:
	case e.Kind == fleet.NotFound && e.Field == fieldNetworks:
	case e.Kind == fleet.Conflict && e.Field == fieldName:
		most = nameRetries
	default:
		return 0, false
	}
	if n >= most || e.RetryAfter > retryPatience {
		return 0, false
	}
	return max(doubled(retryFirst, n-1, retryCap), e.RetryAfter), true
}
