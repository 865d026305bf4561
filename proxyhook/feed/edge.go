package feed

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// The states of an edge, as fleet.Edge shows them.
const (
	stateExpected  = "expected" // has not polled this spawner yet, and may still come
	stateConnected = "connected"
	stateLost      = "lost"
)

// edge is all that is known of one Traefik. It is guarded by Feed.mu.
type edge struct {
	name       string
	address    EdgeAddress
	configured bool
	state      string
	seenAt     time.Time // of the last poll; until there was one, when the wait for it began
	polled     bool      // by this spawner's time

	connections map[*connection]struct{}
	doubled     bool // several connections poll, and an event said so

	current *offer        // what polls get; nil until rendered
	fresh   chan struct{} // closed when current is replaced
	history []*offer      // served, in order; from the newest one applied everywhere on
	points  []*point
	pace    time.Duration // how long it usually takes from served to applied

	good      *offer // the newest applied everywhere: its specs are accepted
	trial     *trial
	convicted map[string]conviction
	hopeless  bool // refused everything; said once
	steps     int  // of all trials

	unrendered string // why its document could not be made; said once
}

// connection is one keep-alive connection of an edge. It is guarded by Feed.mu.
type connection struct {
	edge       *edge
	served     *offer // nil = nothing yet
	received   *offer
	polls      int // outstanding
	polledAt   time.Time
	answeredAt time.Time
}

// edgeLocked returns the edge of that name, and makes it if need be.
func (f *Feed) edgeLocked(name string) *edge {
	if e, ok := f.edges[name]; ok {
		return e
	}
	e := &edge{
		name: name, address: EdgeAddress{Name: name}, state: stateExpected, seenAt: time.Now(),
		connections: map[*connection]struct{}{}, fresh: make(chan struct{}), convicted: map[string]conviction{},
	}
	e.points = append(e.points, f.newPoint(f.config.Settings.Web))
	if f.config.Settings.WebSecure != "" {
		e.points = append(e.points, f.newPoint(f.config.Settings.WebSecure))
	}
	f.edges[name] = e
	f.order = append(f.order, name)
	f.nudge()
	return e
}

// addressLocked takes over where an edge is reached.
func (f *Feed) addressLocked(e *edge, address EdgeAddress) {
	if e.address == address {
		return
	}
	e.address = address
	for i, text := range []string{address.Web, address.WebSecure} {
		if i >= len(e.points) {
			break
		}
		parsed, err := url.Parse(text)
		if err != nil || parsed.Host == "" {
			if text != "" {
				f.log.Warn("Cannot read the URL of an edge", "edge", e.name, "entry_point", e.points[i].name)
			}
			parsed = nil
		}
		e.points[i].setURL(parsed)
	}
}

// seenLocked notes a poll of an edge on a connection.
func (f *Feed) seenLocked(e *edge, c *connection, now time.Time) {
	if !e.polled {
		e.polled = true
		if f.config.Seen != nil && !f.remembered[e.name] {
			f.remembered[e.name] = true
			f.afterLocked(func() { f.config.Seen(e.name) })
		}
	}
	if e.state != stateConnected {
		e.state = stateConnected
		f.eventLocked("", "Edge %s is connected", e.name)
		f.nudge()
	}
	e.seenAt = now
	e.connections[c] = struct{}{}
	if c.edge != e { // perhaps the edge was started again, with nothing, in another version
		clear(e.convicted)
		e.hopeless = false
		for _, p := range e.points {
			p.applied = nil
		}
		f.nudge()
	}
	c.edge, c.polledAt, c.received = e, now, c.served
	for other := range e.connections {
		if other.polls == 0 && now.Sub(other.polledAt) > staleTime {
			delete(e.connections, other)
		}
	}
	f.receivedLocked(e, c, now)
	f.progressLocked()
}

// receivedLocked marks what every connection of the edge has polled past.
func (f *Feed) receivedLocked(e *edge, c *connection, now time.Time) {
	oldest := e.received()
	if oldest == nil {
		return
	}
	for _, o := range e.history {
		if o.receivedAt.IsZero() && e.before(o, oldest) {
			o.receivedAt = now
			// Traefik polls 10 ms after a document that it could read, and backs
			// off for 250 to 750 ms after one that it could not.
			o.late = now.Sub(c.answeredAt) > 200*time.Millisecond
		}
	}
	e.wakePoints()
}

// received returns the newest offer that all connections have polled past.
func (e *edge) received() *offer {
	var oldest *offer
	for c := range e.connections {
		if c.received == nil {
			return nil
		}
		if oldest == nil || e.index(c.received) < e.index(oldest) {
			oldest = c.received
		}
	}
	return oldest
}

// index returns an offer's place in the history; -1 = older than that.
func (e *edge) index(o *offer) int { return slices.Index(e.history, o) }

// before says whether the edge was served o no later than limit.
func (e *edge) before(o, limit *offer) bool { return e.index(o) <= e.index(limit) }

func (e *edge) lastServed() *offer {
	if len(e.history) == 0 {
		return nil
	}
	return e.history[len(e.history)-1]
}

// mayHold says whether the edge may still come to apply a document of that hash.
func (e *edge) mayHold(base string) bool {
	return slices.ContainsFunc(e.history, func(o *offer) bool { return o.base == base })
}

// applied returns the newest offer that all public entry points have applied; nil = none.
func (e *edge) applied() *offer {
	oldest := e.points[0].applied
	for _, p := range e.points {
		if p.applied == nil {
			return nil
		}
		if e.before(p.applied, oldest) {
			oldest = p.applied
		}
	}
	return oldest
}

func (e *edge) wakePoints() {
	for _, p := range e.points {
		p.wake()
	}
}

// ageLocked finds the edges that have not polled for too long.
func (f *Feed) ageLocked(now time.Time) {
	for name, e := range f.edges {
		silent := now.Sub(e.seenAt)
		switch {
		case e.state != stateLost && silent >= lostTime:
			e.state, e.current, e.trial, e.doubled = stateLost, nil, nil, false
			clear(e.connections)
			for _, p := range e.points {
				p.applied = nil
			}
			f.log.Warn("Lost an edge", "edge", name)
			f.eventLocked("", "Edge %s is lost: it has not polled for %s", name, lostTime)
			f.progressLocked()
		case e.state == stateLost && silent >= forgetTime && !e.configured:
			f.forgetLocked(e)
		case e.state == stateConnected:
			f.countConnectionsLocked(e, now)
		}
	}
}

// forgetLocked drops an edge that will not come back.
func (f *Feed) forgetLocked(e *edge) {
	delete(f.edges, e.name)
	delete(f.remembered, e.name)
	f.order = slices.DeleteFunc(f.order, func(name string) bool { return name == e.name })
	for _, p := range e.points {
		p.stop()
	}
	if f.config.Gone != nil {
		f.afterLocked(func() { f.config.Gone(e.name) })
	}
}

// countConnectionsLocked says so when two edges share a name: then the one that
// a probe reaches proves nothing about the other.
func (f *Feed) countConnectionsLocked(e *edge, now time.Time) {
	polling := 0
	for c := range e.connections {
		if c.polls > 0 || now.Sub(c.polledAt) < staleTime {
			polling++
		}
	}
	if polling > 1 && !e.doubled {
		f.log.Warn("Several edges share a name", "edge", e.name)
		f.eventLocked("", "%d connections poll as edge %s: give each edge a name of its own", polling, e.name)
	}
	e.doubled = polling > 1
}

// Edges returns what is known of each edge, by name.
func (f *Feed) Edges() []fleet.Edge {
	f.mu.Lock()
	defer f.unlock()
	list := make([]fleet.Edge, 0, len(f.edges))
	for _, name := range slices.Sorted(maps.Keys(f.edges)) {
		e := f.edges[name]
		shown := fleet.Edge{Name: name, State: e.state, Connections: len(e.connections), SeenAt: e.seenAt.UTC(), URL: e.address.Web}
		if shown.URL == "" {
			shown.URL = e.address.WebSecure
		}
		if !e.polled {
			shown.SeenAt = time.Time{}
		}
		if o := e.received(); o != nil {
			shown.Received = o.version
		}
		if o := e.applied(); o != nil {
			shown.Confirmed = o.version
		}
		shown.Refused, shown.Note = e.refusals(), e.notes()
		list = append(list, shown)
	}
	return list
}

// Addresses returns where the edges are reached that count: those that are not lost.
func (f *Feed) Addresses() []EdgeAddress {
	f.mu.Lock()
	defer f.unlock()
	var list []EdgeAddress
	for _, name := range slices.Sorted(maps.Keys(f.edges)) {
		if e := f.edges[name]; e.state != stateLost {
			list = append(list, e.address)
		}
	}
	return list
}

// refusals says which services' routes the edge refused.
func (e *edge) refusals() string {
	if e.hopeless {
		return "every document"
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(e.convicted)) {
		list = append(list, fmt.Sprintf("%s (revision %d)", name, e.convicted[name].revision))
	}
	return strings.Join(list, ", ")
}

// notes says why the edge's confirmations are less than proofs.
func (e *edge) notes() string {
	var list []string
	for _, p := range e.points {
		if note := p.note(); note != "" {
			list = append(list, fmt.Sprintf("%s: %s", p.name, note))
		}
	}
	return strings.Join(list, "; ")
}
