package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"edgespawner/fleet"
)

// usage is what the fallback router knows of a service's use: exact, and read
// and written without the actor.
type usage struct {
	turn atomic.Uint64

	mu   sync.Mutex
	held int       // requests held or proxied now
	last time.Time // when the last one began or ended
}

func (u *usage) touch(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = now
}

func (u *usage) look() (held int, last time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.held, u.last
}

// pick returns the endpoints in turn.
func (u *usage) pick(endpoints []fleet.Endpoint) fleet.Endpoint {
	return endpoints[u.turn.Add(1)%uint64(len(endpoints))]
}

// Hold marks the service as in use until release is called, once.
func (e *Engine) Hold(name string) (release func()) {
	a, ok := e.actor(name)
	if !ok {
		return func() {}
	}
	a.use.mu.Lock()
	defer a.use.mu.Unlock()
	a.use.held++
	a.use.last = time.Now()
	return sync.OnceFunc(func() {
		a.use.mu.Lock()
		defer a.use.mu.Unlock()
		a.use.held--
		a.use.last = time.Now()
	})
}
