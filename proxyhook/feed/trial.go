package feed

import (
	"maps"
	"slices"
	"time"

	"edgespawner/fleet"
)

// trialTime is what a refusal takes to be sure during a trial, where the edge's
// own back-off after it has been seen.
const trialTime = 1500 * time.Millisecond

// trial finds the services whose routes an edge refuses. Its first document
// holds only specs that the edge has accepted before; then groups of the others
// are put back, and split when they are refused. A refused document costs
// nothing: the edge keeps the one before it.
type trial struct {
	step  int        // counts the documents of all trials of an edge
	test  []string   // the group that the document puts to the test; nil = none, the first document
	queue [][]string // the groups still to be tested
	// refused is what the newest refused document was made of.
	refused *fleet.Snapshot
}

// conviction is a spec that an edge refuses.
type conviction struct {
	spec     *fleet.Spec
	revision int
}

// refusedLocked begins a trial, or takes the next step of it.
func (f *Feed) refusedLocked(e *edge, o *offer) {
	if o.refused || o != e.current {
		return // a newer document is on its way
	}
	o.refused = true
	f.log.Warn("An edge refused a document", "edge", e.name, "version", o.version)
	if e.trial != nil {
		if o.step == e.trial.step {
			e.trial.refused = o.picture
			f.verdictLocked(e, false)
		}
		return
	}
	if f.config.Refused != nil {
		f.afterLocked(func() { f.config.Refused(e.name, "") })
	}
	if e.hopeless {
		f.progressLocked()
		return
	}
	f.eventLocked("", "Edge %s refused its document; looking for the service that it is about", e.name)
	e.trial = &trial{refused: o.picture}
	f.stepLockedTo(e, nil)
}

// stepLockedTo makes the next document of a trial.
func (f *Feed) stepLockedTo(e *edge, test []string) {
	e.steps++
	e.trial.step, e.trial.test = e.steps, test
	f.nudge()
	f.progressLocked()
}

// verdictLocked goes on with a trial once its document was applied or refused.
func (f *Feed) verdictLocked(e *edge, applied bool) {
	t := e.trial
	switch {
	case t.test == nil && applied:
		suspects := slices.Sorted(maps.Keys(e.current.pending))
		if len(suspects) == 1 {
			f.convictLocked(e, suspects[0])
		} else {
			t.split(suspects)
		}
	case t.test == nil && e.good != nil:
		e.good = nil // what it accepted once it does not accept any more
		f.stepLockedTo(e, nil)
		return
	case t.test == nil:
		e.trial, e.hopeless = nil, true
		f.eventLocked("", "Edge %s refuses even a document without any service: is its version too old?", e.name)
		f.nudge()
		f.progressLocked()
		return
	case !applied && len(t.test) == 1:
		f.convictLocked(e, t.test[0])
	case !applied:
		t.split(t.test)
	}
	if len(t.queue) == 0 {
		e.trial = nil
		f.nudge()
		f.progressLocked()
		return
	}
	group := t.queue[0]
	t.queue = t.queue[1:]
	f.stepLockedTo(e, group)
}

// split queues a group as two halves.
func (t *trial) split(group []string) {
	middle := len(group) / 2
	for _, half := range [][]string{group[middle:], group[:middle]} {
		if len(half) > 0 {
			t.queue = slices.Insert(t.queue, 0, half)
		}
	}
}

// convictLocked keeps a service's present spec away from the edge.
func (f *Feed) convictLocked(e *edge, name string) {
	r, ok := e.trial.refused.Find(name)
	if !ok {
		return
	}
	e.convicted[name] = conviction{spec: r.Spec, revision: r.Revision}
	e.pardon(f.newest) // it may have been mended meanwhile
	f.log.Warn("An edge refuses a service's routes", "edge", e.name, "service", name)
	f.eventLocked(name, "Edge %s refuses the routes of revision %d; they stay out of its document until another one is deployed", e.name, r.Revision)
	if f.config.Refused != nil {
		f.afterLocked(func() { f.config.Refused(e.name, name) })
	}
}

// appliedLocked draws the conclusions when an entry point has applied an offer,
// or an applied offer has come to stand for more.
func (f *Feed) appliedLocked(e *edge) {
	o := e.applied()
	if o == nil {
		return
	}
	if e.good != o {
		f.timedLocked(e, o)
		e.history = slices.Delete(e.history, 0, max(e.index(o), 0))
	}
	e.good, e.hopeless = o, false
	if e.trial != nil && o == e.current && o.step == e.trial.step {
		f.verdictLocked(e, true)
	}
	if e.name == f.acmeEdgeLocked() {
		f.ledger.applied(o, time.Now())
	}
	f.progressLocked()
}

// timedLocked learns how long this edge takes.
func (f *Feed) timedLocked(e *edge, o *offer) {
	now := time.Now()
	for _, p := range e.points {
		if p.url == nil || p.vain != "" {
			return
		}
	}
	took := now.Sub(o.servedAt)
	if e.pace = (e.pace + took) / 2; e.good == nil {
		e.pace = took
	}
	e.pace = min(e.pace, time.Second)
	if f.config.Applied != nil && !o.bornAt.IsZero() {
		since := now.Sub(o.bornAt)
		f.afterLocked(func() { f.config.Applied(e.name, since) })
	}
}

// pardon forgets the refusals of specs that are not in service any more.
func (e *edge) pardon(newest *fleet.Snapshot) {
	for name, c := range e.convicted {
		if now, ok := newest.Find(name); !ok || !sameSpec(now, c.spec, c.revision) {
			delete(e.convicted, name)
		}
	}
}
