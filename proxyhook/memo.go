package proxyhook

import (
	"net/http"
	"slices"
	"sync"

	"edgespawner/fleet"
)

// memo keeps what was made of the specs of the last snapshot, since most of a
// snapshot is what it was before: reading labels and rules anew for each change
// of one replica would cost a hundred times the rest. A spec in a snapshot is
// never changed, so its address stands for it; the memo holds it, so the address
// is not given to another.
type memo struct {
	mu       sync.Mutex
	settings Settings
	plans    map[*fleet.Spec]madePlan
	muxed    []*plan // what the muxers below were made of
	plain    http.Handler
	secure   http.Handler
}

type madePlan struct {
	plan *plan
	err  error
}

var kept memo

// spareSpecs is how many specs that a snapshot does not hold are kept.
const spareSpecs = 64

// plansLocked returns the plans of the services in a snapshot, nil for one that
// the edge cannot route, whose errors are returned beside it.
func (m *memo) plansLocked(s Settings, snapshot *fleet.Snapshot) (plans []*plan, refused map[string]error) {
	if s != m.settings || m.plans == nil {
		m.settings, m.plans, m.muxed = s, map[*fleet.Spec]madePlan{}, nil
	}
	plans = make([]*plan, len(snapshot.Services))
	for i := range snapshot.Services {
		spec := snapshot.Services[i].Spec
		if spec == nil {
			continue
		}
		known, ok := m.plans[spec]
		if !ok {
			known.plan, known.err = makePlan(s, spec)
			m.plans[spec] = known
		}
		if known.err != nil {
			if refused == nil {
				refused = map[string]error{}
			}
			refused[snapshot.Services[i].Name] = known.err
			continue
		}
		plans[i] = known.plan
	}
	m.forgetLocked(snapshot)
	return plans, refused
}

// forgetLocked drops the plans of specs that are out of service, when they are many.
func (m *memo) forgetLocked(snapshot *fleet.Snapshot) {
	if len(m.plans) <= 2*len(snapshot.Services)+spareSpecs {
		return
	}
	held := make(map[*fleet.Spec]madePlan, len(snapshot.Services))
	for i := range snapshot.Services {
		if spec := snapshot.Services[i].Spec; spec != nil {
			held[spec] = m.plans[spec]
		}
	}
	m.plans = held
}

// muxersLocked returns handlers that find the router of a request, one for
// plain HTTP and one for TLS.
func (m *memo) muxersLocked(plans []*plan) (plain, secure http.Handler, err error) {
	if m.plain != nil && m.muxed != nil && slices.Equal(m.muxed, plans) {
		return m.plain, m.secure, nil
	}
	plain, err = newMuxer(plans, func(r router) bool { return len(r.plain) > 0 || r.redirect })
	if err != nil {
		return nil, nil, err
	}
	secure, err = newMuxer(plans, func(r router) bool { return len(r.secure) > 0 })
	if err != nil {
		return nil, nil, err
	}
	m.muxed, m.plain, m.secure = plans, plain, secure
	return plain, secure, nil
}
