package feed

import (
	"context"
	"maps"
	"slices"
	"time"

	"edgespawner/fleet"
)

// Confirmed waits until every edge has applied that version or is lost. It
// returns an error of kind Invalid when an edge refused what this version
// brought, Unavailable when an edge did not confirm in 30 s, or ctx's.
func (f *Feed) Confirmed(ctx context.Context, version uint64) (fleet.Confirmation, error) {
	f.mu.Lock()
	defer f.unlock()
	f.waiting++
	defer func() { f.waiting-- }()
	for _, e := range f.edges {
		if o := e.applied(); o == nil || o.version < version {
			e.wakePoints()
		}
	}
	limit := time.NewTimer(confirmTime)
	defer limit.Stop()
	for {
		confirmation, open, err := f.confirmationLocked(version)
		if err != nil || open == "" {
			return confirmation, err
		}
		progress := f.progress
		f.unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			err = ctx.Err()
		case <-limit.C:
			err = fleet.Errorf(fleet.Unavailable, "%s has not confirmed its routes in %s", open, confirmTime)
		}
		f.mu.Lock()
		if err != nil {
			return confirmation, err
		}
	}
}

// confirmationLocked says which edges have applied a version, and names one that is waited for.
func (f *Feed) confirmationLocked(version uint64) (confirmation fleet.Confirmation, open string, err error) {
	if f.newest == nil || f.newest.Version < version {
		return confirmation, "the feed", nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.edges)) {
		e := f.edges[name]
		if e.state == stateLost {
			if time.Since(e.seenAt) < namedTime { // after that it is no news
				confirmation.Lost = append(confirmation.Lost, name)
			}
			continue
		}
		applied, refusal := f.appliesLocked(e, version)
		switch {
		case refusal != nil:
			return confirmation, "", refusal
		case applied:
			confirmation.Edges++
		default:
			open = "edge " + name
		}
	}
	return confirmation, open, nil
}

// appliesLocked says whether an edge has applied a version with all that it
// brought, or refuses something of that.
func (f *Feed) appliesLocked(e *edge, version uint64) (bool, error) {
	for name, err := range f.unroutable {
		if f.since[name] == version {
			return false, fleet.Errorf(fleet.Invalid, "%s cannot be routed: %v", name, err)
		}
	}
	for name, c := range e.convicted {
		if f.since[name] == version {
			return false, fleet.Errorf(fleet.Invalid, "edge %s refuses the routes of %s (revision %d)", e.name, name, c.revision)
		}
	}
	if e.hopeless {
		return false, fleet.Errorf(fleet.Invalid, "edge %s refuses every document", e.name)
	}
	o := e.applied()
	if o == nil || o.version < version {
		return false, nil
	}
	if len(e.connections) > 1 && (e.received() == nil || !e.before(o, e.received())) {
		return false, nil // a probe reaches only one of them
	}
	for name := range o.pending {
		if f.since[name] == version {
			return false, nil
		}
	}
	return true, nil
}

// Settled waits until each edge that is expected has polled or is lost: before
// that nothing may be taken away, since nobody could tell them. The error is ctx's.
func (f *Feed) Settled(ctx context.Context) error {
	f.mu.Lock()
	defer f.unlock()
	for !f.settledLocked() {
		progress := f.progress
		f.unlock()
		var err error
		select {
		case <-progress:
		case <-ctx.Done():
			err = ctx.Err()
		}
		f.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Feed) settledLocked() bool {
	for _, e := range f.edges {
		if e.state == stateExpected {
			return false
		}
	}
	return f.looked
}
