package fallback

import (
	"sync/atomic"
	"time"

	"edgespawner/fleet"
)

// Outcome says how a request ended.
type Outcome string

// The outcomes.
const (
	OutcomeProxied     Outcome = "proxied"     // the app answered
	OutcomeRedirected  Outcome = "redirected"  // woken, and sent to its own URL
	OutcomeToEdge      Outcome = "to_edge"     // sent to its own path, to pass the edge's middlewares
	OutcomePage        Outcome = "page"        // saw the waiting page
	OutcomeProbe       Outcome = "probe"       // an edge's probe
	OutcomeNotFound    Outcome = "not_found"   // 404, or sent to the home page
	OutcomeBadGateway  Outcome = "bad_gateway" // 502
	OutcomeUnavailable Outcome = "unavailable" // 503
	OutcomeTimeout     Outcome = "timeout"     // 504
	OutcomeLeft        Outcome = "left"        // the client left before it was answered
	OutcomeFailed      Outcome = "failed"      // any other error
)

var allOutcomes = []Outcome{
	OutcomeProxied, OutcomeRedirected, OutcomeToEdge, OutcomePage, OutcomeProbe, OutcomeNotFound,
	OutcomeBadGateway, OutcomeUnavailable, OutcomeTimeout, OutcomeLeft, OutcomeFailed,
}

// Stats is what the router has counted since it was made.
type Stats struct {
	Held     int                // requests that wait now
	Proxied  int64              // requests that an app answers now, streams included
	Waited   time.Duration      // sum of the waits that ended
	Redials  uint64             // attempts to connect to an app that were repeated
	Legs     map[Leg]uint64     // requests by the way they came
	Outcomes map[Outcome]uint64 // requests by how they ended
}

// Stats returns the counts as they stand.
func (r *Router) Stats() Stats {
	stats := Stats{
		Proxied:  r.counters.proxied.Load(),
		Redials:  r.counters.redials.Load(),
		Legs:     map[Leg]uint64{},
		Outcomes: map[Outcome]uint64{},
	}
	stats.Held, stats.Waited = r.gate.count()
	for leg, count := range r.counters.legs {
		stats.Legs[leg] = count.Load()
	}
	for outcome, count := range r.counters.outcomes {
		stats.Outcomes[outcome] = count.Load()
	}
	return stats
}

// counters are what Stats reads; the maps never change.
type counters struct {
	proxied  *atomic.Int64
	redials  *atomic.Uint64
	legs     map[Leg]*atomic.Uint64
	outcomes map[Outcome]*atomic.Uint64
}

func newCounters() counters {
	c := counters{
		proxied:  new(atomic.Int64),
		redials:  new(atomic.Uint64),
		legs:     map[Leg]*atomic.Uint64{},
		outcomes: map[Outcome]*atomic.Uint64{},
	}
	for _, leg := range []Leg{LegAsleep, LegFailover, LegCatchAll} {
		c.legs[leg] = new(atomic.Uint64)
	}
	for _, outcome := range allOutcomes {
		c.outcomes[outcome] = new(atomic.Uint64)
	}
	return c
}

// outcomeOf returns the outcome of a request that was answered with an error.
func outcomeOf(kind fleet.Kind) Outcome {
	switch kind {
	case fleet.NotFound:
		return OutcomeNotFound
	case fleet.BadGateway:
		return OutcomeBadGateway
	case fleet.Unavailable:
		return OutcomeUnavailable
	case fleet.Timeout:
		return OutcomeTimeout
	default:
		return OutcomeFailed
	}
}
