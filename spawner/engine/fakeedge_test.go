package engine

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// fakeEdge is an edge: it applies each snapshot some time after it was published.
type fakeEdge struct {
	mu      sync.Mutex
	delay   time.Duration
	edges   int   // that are connected
	refuse  error // what Confirmed answers
	deaf    bool  // nothing is applied any more
	unknown bool  // the counters cannot be read
	history []*fleet.Snapshot
	applied *fleet.Snapshot
	changed chan struct{} // closed at each application
	counted map[string]time.Time
	turn    int
	seen    func(*fleet.Snapshot) // each published one; called without the lock
}

func newFakeEdge() *fakeEdge {
	return &fakeEdge{delay: 5 * time.Millisecond, edges: 1, applied: &fleet.Snapshot{}, changed: make(chan struct{}), counted: map[string]time.Time{}}
}

func (e *fakeEdge) check(spec fleet.Spec, others []fleet.Spec) ([]string, error) {
	if spec.Route == nil {
		return nil, nil
	}
	for _, other := range others {
		if other.Route == nil {
			continue
		}
		for _, host := range spec.Route.Hosts {
			if slices.Contains(other.Route.Hosts, host) {
				return nil, fleet.InvalidField("route.hosts[0]", "%s is the host of %s", host, other.Name)
			}
		}
	}
	return nil, nil
}

func (e *fakeEdge) publish(s *fleet.Snapshot) {
	e.mu.Lock()
	seen := e.seen
	e.history = append(e.history, s)
	number := len(e.history)
	time.AfterFunc(e.delay, func() { e.apply(number, s) })
	e.mu.Unlock()
	if seen != nil {
		seen(s)
	}
}

// apply takes a document in, unless a later one has been taken in already.
func (e *fakeEdge) apply(number int, s *fleet.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf || number > len(e.history) || e.history[number-1] != s || slices.Index(e.history, e.applied) >= number {
		return // deaf, of a spawner that is gone, or older than what was applied
	}
	e.applied = s
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEdge) confirmed(ctx context.Context, version uint64) (fleet.Confirmation, error) {
	for {
		e.mu.Lock()
		refuse, edges, changed := e.refuse, e.edges, e.changed
		done := edges == 0 || e.applied.Version >= version && slices.Contains(e.history, e.applied)
		e.mu.Unlock()
		if refuse != nil {
			return fleet.Confirmation{}, refuse
		}
		if done {
			return fleet.Confirmation{Edges: edges}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fleet.Confirmation{}, context.Cause(ctx)
		}
	}
}

// restarted forgets the versions of a spawner that is gone; what it applied stays.
func (e *fakeEdge) restarted() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.history = nil
}

func (e *fakeEdge) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

func (e *fakeEdge) lastRequest(service string) (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counted[service], !e.unknown
}

func (e *fakeEdge) canCount() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.unknown
}

// endpoint is where the edge sends the next request of a service; false = down the wake leg.
func (e *fakeEdge) endpoint(service string) (fleet.Endpoint, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counted[service] = time.Now()
	routed, ok := e.applied.Find(service)
	if !ok || len(routed.Endpoints) == 0 {
		return fleet.Endpoint{}, false
	}
	e.turn++
	return routed.Endpoints[e.turn%len(routed.Endpoints)], true
}

// knows returns the service that the edge takes an address for.
func (e *fakeEdge) knows(address netip.Addr) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, routed := range e.applied.Services {
		for _, endpoint := range routed.Endpoints {
			if endpoint.Addr.Addr() == address {
				return routed.Name
			}
		}
	}
	return ""
}
