package engine

import (
	"slices"
	"time"

	"edgespawner/fleet"
)

// How an app that ends by fault is restarted.
const (
	backoffFirst = 500 * time.Millisecond // before the second restart; the first is at once
	backoffCap   = time.Minute
	backoffReset = time.Duration(fleet.RestartReset) // up for this long: the back-off begins anew
)

// backoff returns how long to wait before restart number n (from 0): nothing,
// then backoffFirst doubling up to backoffCap.
func backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return doubled(backoffFirst, n-1, backoffCap)
}

// doubled is a pause that doubles n times, up to the longest.
func doubled(first time.Duration, n int, longest time.Duration) time.Duration {
	const enough = 20 // doublings: more than there are to any longest one
	return min(first<<min(n, enough), longest)
}

// tries counts the restarts of a replica.
type tries struct {
	inRow int         // since it was last up for backoffReset
	at    []time.Time // of those within the limit's window, oldest first
}

// again counts one more restart; lived is how long the app was up before. It
// returns how long to wait for it, and whether it is one more than the limit allows.
func (t *tries) again(limit fleet.RestartLimit, lived time.Duration, now time.Time) (wait time.Duration, tooMany bool) {
	if lived > backoffReset {
		t.inRow = 0
	}
	t.at = slices.DeleteFunc(t.at, func(at time.Time) bool { return now.Sub(at) >= limit.Window.Std() })
	t.at = t.at[max(0, len(t.at)-limit.Most()):] // more than that need not be known
	counted := t.inRow
	if limit.Window != 0 {
		counted = len(t.at)
	}
	wait = backoff(t.inRow)
	t.inRow++
	t.at = append(t.at, now)
	return wait, counted >= limit.Most()
}
