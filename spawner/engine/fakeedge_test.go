package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/probes"
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

// fakeProber probes the apps of a fakeDocker.
type fakeProber struct {
	process *process

	mu      sync.Mutex
	watched map[string]probes.Target
}

func (f *fakeProber) Await(ctx context.Context, t probes.Target, check fleet.HealthCheck) error {
	began := time.Now()
	if check.Type == fleet.CheckNone {
		select {
		case <-time.After(check.Settle.Std()):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		d := f.process.world.docker
		d.mu.Lock()
		ready := d.answering(t.Addr) != nil
		d.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-time.After(min(max(time.Millisecond, time.Since(began)/25), 100*time.Millisecond)):
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready: %w", t.Replica, context.Cause(ctx))
		}
	}
}

func (f *fakeProber) Watch(t probes.Target, _ fleet.HealthCheck, _ fleet.Health, _ time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched[t.Replica] = t
}

func (f *fakeProber) Forget(replica string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watched, replica)
}

// hang lets an app answer nobody any more; its scheduled probes find that out after a while.
func (w *world) hang(name string) {
	w.docker.mu.Lock()
	b := w.docker.named(name)
	if b == nil || b.status != fleet.ContainerRunning {
		w.docker.mu.Unlock()
		return
	}
	b.hung = true
	life := b.life
	w.docker.mu.Unlock()
	p := w.process
	time.AfterFunc(3*time.Second, func() {
		w.docker.mu.Lock()
		still := b.hung && b.life == life
		w.docker.mu.Unlock()
		p.prober.mu.Lock()
		target, watched := p.prober.watched["local/"+name]
		p.prober.mu.Unlock()
		if still && watched && p.alive(false) == nil {
			p.engine.ReportHealth(probes.Change{Target: target, Health: fleet.Unhealthy, Reason: errors.New("it does not answer").Error(), At: time.Now()})
		}
	})
}
