package engine

import "time"

// How an app that ends by fault is restarted.
const (
	backoffFirst  = 500 * time.Millisecond // before the second restart; the first is at once
	backoffCap    = time.Minute
	backoffReset  = 30 * time.Second // up for this long: the count begins anew
	backoffGiveUp = 6                // restarts without being up that long make failed
)

// backoff returns how long to wait before restart number n (from 0): nothing,
// then backoffFirst doubling up to backoffCap. GiveUp says that n is one too many.
func backoff(n int) (wait time.Duration, giveUp bool) {
	switch {
	case n >= backoffGiveUp:
		return 0, true
	case n <= 0:
		return 0, false
	}
	return min(backoffFirst<<(n-1), backoffCap), false
}
