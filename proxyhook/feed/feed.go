package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

// Feed is the feed of all edges of one fleet.
type Feed struct {
	config Config
	log    *slog.Logger
	dirty  chan struct{} // capacity 1: documents or probers are due

	mu         sync.Mutex
	newest     *fleet.Snapshot   // nil until the first Publish
	since      map[string]uint64 // the version in which each service's present spec came
	bornAt     time.Time         // of the first change that no document holds yet
	edges      map[string]*edge
	order      []string         // names of edges: configured, expected, as they came
	remembered map[string]bool  // names that Seen need not be told
	unroutable map[string]error // services that Render left out of the newest documents
	acme       string           // the edge that was chosen to obtain certificates
	looked     bool             // Known has been asked
	seq        uint64
	waiting    int           // callers of Confirmed
	progress   chan struct{} // closed and replaced when somebody's wait may be over
	ledger     *ledger
	later      []func() // run by unlock

	matching       sync.Mutex
	matched        *fleet.Snapshot
	matcher        *proxyhook.Matcher
	matcherFailure string
}

// New makes a feed; Run starts it.
func New(config Config) *Feed {
	if config.Render == nil {
		config.Render = proxyhook.Render
	}
	if config.dial == nil {
		config.dial = (&net.Dialer{Timeout: time.Second}).DialContext
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{
		config: config, log: config.Log, dirty: make(chan struct{}, 1),
		since: map[string]uint64{}, edges: map[string]*edge{}, remembered: map[string]bool{},
		looked: config.Known == nil, progress: make(chan struct{}),
	}
	f.ledger = newLedger(f.config.Settings.CertResolver)
	f.mu.Lock()
	defer f.unlock()
	for _, address := range config.Edges {
		e := f.edgeLocked(address.Name)
		e.configured = true
		f.addressLocked(e, address)
	}
	for _, name := range config.Expected {
		f.remembered[name] = true
		f.edgeLocked(name)
	}
	return f
}

// Publish hands a snapshot to the edges; it never waits. An older one than the newest is ignored.
func (f *Feed) Publish(snapshot *fleet.Snapshot) {
	f.mu.Lock()
	defer f.unlock()
	if f.newest != nil && snapshot.Version <= f.newest.Version {
		return
	}
	since := make(map[string]uint64, len(snapshot.Services))
	for i := range snapshot.Services {
		r := &snapshot.Services[i]
		since[r.Name] = snapshot.Version
		if f.newest == nil {
			continue
		}
		if last, ok := f.newest.Find(r.Name); ok && sameSpec(r, last.Spec, last.Revision) {
			since[r.Name] = f.since[r.Name]
		}
	}
	f.newest, f.since = snapshot, since
	for _, e := range f.edges {
		e.pardon(snapshot)
	}
	if f.bornAt.IsZero() {
		f.bornAt = time.Now()
	}
	f.nudge()
	f.progressLocked()
}

// Run makes documents, probes the edges and watches their lives until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	var owned sync.WaitGroup
	defer owned.Wait()
	f.begin()
	owned.Go(func() { f.look(ctx) })
	owned.Go(func() { f.watchCertificates(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	f.nudge()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			f.mu.Lock()
			f.ageLocked(now)
			f.unlock()
		case <-f.dirty:
			f.gather(ctx)
			f.launch(ctx, &owned)
			f.render()
		}
	}
}

// begin starts the time in which expected edges may come back.
func (f *Feed) begin() {
	f.mu.Lock()
	defer f.unlock()
	for _, e := range f.edges {
		if e.state == stateExpected {
			e.seenAt = time.Now()
		}
	}
}

// gather waits for the changes that belong into the same document.
func (f *Feed) gather(ctx context.Context) {
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	limit := time.NewTimer(gatherTime)
	defer limit.Stop()
	for {
		select {
		case <-f.dirty:
			quiet.Reset(quietTime)
		case <-quiet.C:
			return
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// launch starts the probers of edges that are new.
func (f *Feed) launch(ctx context.Context, owned *sync.WaitGroup) {
	f.mu.Lock()
	defer f.unlock()
	for _, e := range f.edges {
		for _, p := range e.points {
			if !p.running {
				p.running = true
				owned.Go(func() { f.prove(ctx, e, p) })
			}
		}
	}
}

// look finds edges by label, again and again.
func (f *Feed) look(ctx context.Context) {
	if f.config.Known == nil {
		return
	}
	tick := time.NewTicker(knownPeriod)
	defer tick.Stop()
	failed := ""
	for {
		limited, cancel := context.WithTimeout(ctx, knownPeriod)
		found, err := f.config.Known(limited)
		cancel()
		if err != nil && ctx.Err() == nil && err.Error() != failed {
			f.log.Warn("Cannot find edges by label", "error", err)
		}
		if failed = ""; err != nil {
			failed = err.Error()
		}
		f.foundEdges(found)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// foundEdges takes over the addresses of edges found by label. Configured ones win.
func (f *Feed) foundEdges(found []EdgeAddress) {
	f.mu.Lock()
	defer f.unlock()
	for _, address := range found {
		if !edgeName.MatchString(address.Name) || (f.edges[address.Name] == nil && len(f.edges) >= maxEdges) {
			continue
		}
		if e := f.edgeLocked(address.Name); !e.configured {
			f.addressLocked(e, address)
		}
	}
	f.looked = true
	f.progressLocked()
}

// Check says whether the edges can route spec beside the others in service.
func (f *Feed) Check(spec fleet.Spec, others []fleet.Spec) (warnings []string, err error) {
	return proxyhook.Check(f.config.Settings, spec, others)
}

// Port returns the app's port that routes lead to; 0 = it needs none.
func (f *Feed) Port(spec fleet.Spec, exposed []int) (int, error) {
	return proxyhook.Port(spec, exposed)
}

// Matcher matches requests as the edges would with the newest snapshot. It is
// made when it is asked for, so that no change waits for it; nil before the
// first snapshot.
func (f *Feed) Matcher() *proxyhook.Matcher {
	f.mu.Lock()
	newest := f.newest
	f.unlock()
	f.matching.Lock()
	defer f.matching.Unlock()
	if newest == nil || newest == f.matched {
		return f.matcher
	}
	if f.matched != nil && newest.Version < f.matched.Version {
		return f.matcher // another caller was faster
	}
	matcher, err := proxyhook.NewMatcher(f.config.Settings, newest)
	if err != nil {
		if err.Error() != f.matcherFailure {
			f.log.Error("Cannot make a matcher of requests", "error", err)
		}
		f.matcherFailure = err.Error()
		return f.matcher
	}
	f.matcher, f.matched, f.matcherFailure = matcher, newest, ""
	return f.matcher
}

// nudge makes Run look for what is due.
func (f *Feed) nudge() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// progressLocked wakes those who wait for a confirmation or for edges to settle.
func (f *Feed) progressLocked() {
	close(f.progress)
	f.progress = make(chan struct{})
}

// afterLocked runs a callback as soon as the lock is free.
func (f *Feed) afterLocked(callback func()) { f.later = append(f.later, callback) }

// unlock releases the lock and runs the callbacks that came up under it.
func (f *Feed) unlock() {
	later := f.later
	f.later = nil
	f.mu.Unlock()
	for _, callback := range later {
		callback()
	}
}

// eventLocked records a fact.
func (f *Feed) eventLocked(service, format string, args ...any) {
	f.typedEventLocked(fleet.EventEdge, service, format, args...)
}

func (f *Feed) typedEventLocked(kind fleet.EventType, service, format string, args ...any) {
	if f.config.Events == nil {
		return
	}
	event := fleet.Event{Timestamp: time.Now().UTC(), Type: kind, Service: service, Message: fmt.Sprintf(format, args...)}
	f.afterLocked(func() { f.config.Events(event) })
}
