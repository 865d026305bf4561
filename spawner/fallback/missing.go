package fallback

import (
	"context"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	missingEvery = time.Minute           // at most one event a service in that time
	missingGrace = 10 * time.Millisecond // a route confirmed only later was not missing
)

// missing remembers which missing routes were told of.
type missing struct {
	mu   sync.Mutex // guards told
	told map[string]time.Time
}

// due says whether an event about a service is due, and counts it as told.
func (m *missing) due(name string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.told[name]; ok && now.Sub(at) < missingEvery {
		return false
	}
	if m.told == nil {
		m.told = map[string]time.Time{}
	}
	m.told[name] = now
	return true
}

// forget makes an event about a service due again.
func (m *missing) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.told, name)
}

// noteMissing tells of a request that the catch-all saw although the edges had
// confirmed the route that should have taken it. The request does not wait for
// that.
func (r *Router) noteMissing(name string) {
	now := time.Now()
	if !r.missing.due(name, now) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open.Err() != nil {
		return
	}
	r.background.Go(func() {
		ctx, cancel := context.WithTimeout(r.open, missingGrace)
		defer cancel()
		if err := r.waker.Published(ctx, name); err != nil {
			r.missing.forget(name) // the route is not there yet, so none is missing
			return
		}
		r.events(fleet.Event{
			Timestamp: now.UTC(), Type: fleet.EventRouteMissing, Service: name,
			Message: "a request for " + name + " reached the catch-all although the edges have its route",
		})
	})
}
