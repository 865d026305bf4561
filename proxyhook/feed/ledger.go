package feed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

const (
	patience     = time.Minute      // from an order to its failure
	firstRest    = 15 * time.Minute // then doubled; a CA takes 5 failures an hour
	longestRest  = 6 * time.Hour
	redeployRest = 5 * time.Minute  // for each failure, when a new revision is deployed
	watchStep    = time.Second      // between looks at an order under way
	restStep     = 30 * time.Second // between looks while resting: an order may end late
	certifiedFor = 10 * time.Minute // between looks at what is there
)

// ledger keeps orders for certificates from being repeated. An edge begins one
// with every document that names its resolver for a host without a certificate,
// whatever the document is about, and lets it run when a later document does
// not. So the resolver of such a service stands in one document only, and again
// after a pause that grows with each failure. It is guarded by Feed.mu.
type ledger struct {
	enabled bool // a resolver is configured
	orders  map[string]*order
}

// order is one service's certificates.
type order struct {
	hosts     []string
	revision  int
	state     orderState
	seq       uint64    // ordered: of the first offer that names the resolver
	since     time.Time // watched: when that was applied
	until     time.Time // resting: when the next order is due
	lookedAt  time.Time
	failures  int
	announced bool
}

// orderState is where an order stands:
//
//	due → ordered → watched → certified
//	 ↑                 ↓ patience
//	 └──── pause ── resting → certified (late)
type orderState string

const (
	orderDue       orderState = "due"     // the next document names the resolver
	orderOrdered   orderState = "ordered" // a document that names it is on its way
	orderWatched   orderState = "watched" // the edge has applied it
	orderResting   orderState = "resting"
	orderCertified orderState = "certified"
)

func newLedger(resolver string) *ledger {
	return &ledger{enabled: resolver != "", orders: map[string]*order{}}
}

// reconcile follows the services of a snapshot.
func (l *ledger) reconcile(snapshot *fleet.Snapshot) {
	if !l.enabled {
		return
	}
	for name := range l.orders {
		if r, ok := snapshot.Find(name); !ok || len(secureHosts(r)) == 0 {
			delete(l.orders, name)
		}
	}
	for i := range snapshot.Services {
		r := &snapshot.Services[i]
		hosts := secureHosts(r)
		if len(hosts) == 0 {
			continue
		}
		o, ok := l.orders[r.Name]
		if !ok || !slices.Equal(o.hosts, hosts) {
			l.orders[r.Name] = &order{hosts: hosts, revision: r.Revision, state: orderDue}
			continue
		}
		if o.revision != r.Revision {
			o.revision = r.Revision
			o.hasten()
		}
	}
}

// hasten shortens the pause: who deploys again may have mended what was wrong.
// Five deploys still make no more than five orders in an hour.
func (o *order) hasten() {
	soon := o.since.Add(time.Duration(o.failures) * redeployRest)
	if o.state == orderResting && soon.Before(o.until) {
		o.until = soon
	}
}

// secureHosts are the hosts of a service that a certificate is ordered for.
func secureHosts(r *fleet.Routed) []string {
	if r.Spec == nil || r.Spec.Route == nil || !r.Spec.Route.TLS {
		return nil
	}
	return r.Spec.Route.Hosts
}

// view says whose resolver is left out of a document, and whom it orders for.
func (l *ledger) view(now time.Time) (without map[string]bool, trying []string) {
	without = map[string]bool{}
	for name, o := range l.orders {
		if o.state == orderResting && !now.Before(o.until) {
			o.state = orderDue
		}
		switch o.state {
		case orderDue, orderOrdered:
			trying = append(trying, name)
		case orderWatched, orderResting:
			without[name] = true
		}
	}
	return without, trying
}

// offered notes that an offer orders for these services.
func (l *ledger) offered(trying []string, made *offer) {
	for _, name := range trying {
		if o := l.orders[name]; o != nil && o.state == orderDue {
			o.state, o.seq = orderOrdered, made.seq
		}
	}
}

// applied notes that the edge has applied an offer.
func (l *ledger) applied(made *offer, now time.Time) {
	for _, o := range l.orders {
		if o.state == orderOrdered && o.seq <= made.seq {
			o.state, o.since = orderWatched, now
		}
	}
}

// due returns the orders to be looked at, by service.
func (l *ledger) due(now time.Time) map[string][]string {
	list := map[string][]string{}
	for name, o := range l.orders {
		step := map[orderState]time.Duration{orderWatched: watchStep, orderResting: restStep, orderCertified: certifiedFor}[o.state]
		if step > 0 && now.Sub(o.lookedAt) >= step {
			o.lookedAt = now
			list[name] = o.hosts
		}
	}
	return list
}

// restOver says whether a pause is over.
func (l *ledger) restOver(now time.Time) bool {
	for _, o := range l.orders {
		if o.state == orderResting && !now.Before(o.until) {
			return true
		}
	}
	return false
}

// rest is the pause after that many failures.
func rest(failures int) time.Duration {
	pause := firstRest
	for range failures - 1 {
		pause = min(2*pause, longestRest)
	}
	return pause
}

// watchCertificates looks at the certificates of the edge that obtains them.
func (f *Feed) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(watchStep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f.mu.Lock()
			due := f.ledger.due(now)
			if f.ledger.restOver(now) {
				f.nudge()
			}
			f.unlock()
			for _, name := range slices.Sorted(maps.Keys(due)) {
				f.lookAt(ctx, name, due[name])
			}
		}
	}
}

// lookAt looks at the certificates of one service and enters what it sees.
func (f *Feed) lookAt(ctx context.Context, name string, hosts []string) {
	address, failure := f.secureAddress()
	for _, host := range hosts {
		if failure == nil {
			failure = f.examine(ctx, address, host)
		}
	}
	blind := fleet.KindOf(failure) == fleet.Unavailable || errors.Is(failure, errUnseen)
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.unlock()
	if o := f.ledger.orders[name]; o != nil && slices.Equal(o.hosts, hosts) {
		f.enterLocked(name, o, failure, blind, time.Now())
	}
}

// enterLocked draws the conclusions from a look.
func (f *Feed) enterLocked(name string, o *order, failure error, blind bool, now time.Time) {
	list := strings.Join(o.hosts, ", ")
	switch {
	case failure == nil:
		if !o.announced {
			f.typedEventLocked(fleet.EventCertificate, name, "Certificate in service for %s", list)
		}
		o.state, o.failures, o.announced = orderCertified, 0, true
	case o.state == orderCertified && blind:
	case o.state == orderCertified:
		o.state, o.since, o.announced = orderWatched, now, false
	case o.state == orderWatched && now.Sub(o.since) >= patience:
		o.failures++
		o.state, o.until = orderResting, now.Add(rest(o.failures))
		f.nudge() // leave it out, so that naming it again is news to the edge
		if blind {
			return
		}
		f.log.Warn("No certificate", "service", name, "error", failure)
		f.typedEventLocked(fleet.EventCertificate, name, "No certificate for %s after %s (%v); the edge is asked again in %s", list, patience, failure, rest(o.failures))
	}
}

// Why says what the edges hold against a service: refused routes, missing certificates.
func (f *Feed) Why(service string) []string {
	f.mu.Lock()
	defer f.unlock()
	var reasons []string
	for _, name := range f.order {
		if c, ok := f.edges[name].convicted[service]; ok {
			reasons = append(reasons, fmt.Sprintf("edge %s refuses the routes of revision %d", name, c.revision))
		}
	}
	if err := f.unroutable[service]; err != nil {
		reasons = append(reasons, "no edge routes it: "+err.Error())
	}
	if o := f.ledger.orders[service]; o != nil && o.state == orderResting {
		reasons = append(reasons, fmt.Sprintf("no certificate for %s after %s; the next one is due at %s",
			strings.Join(o.hosts, ", "), fleet.Counted(o.failures, "order"), o.until.UTC().Format(time.RFC3339)))
	}
	return reasons
}
