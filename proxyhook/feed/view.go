package feed

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

// job is one document to be made for one edge.
type job struct {
	edge    *edge
	view    proxyhook.View
	picture *fleet.Snapshot
	version uint64
	pending map[string]bool
	step    int
	bornAt  time.Time
	trying  []string // services whose certificates the edge is asked for
}

// planLocked says which documents are due.
func (f *Feed) planLocked(now time.Time) []job {
	if f.newest == nil {
		return nil
	}
	var jobs []job
	acme := f.acmeEdgeLocked()
	f.ledger.reconcile(f.newest)
	for _, name := range f.order {
		e := f.edges[name]
		if e.state != stateConnected {
			continue
		}
		made := job{edge: e, version: f.newest.Version, bornAt: f.bornAt}
		made.picture, made.view.LeftOut, made.pending = e.picture(f.newest)
		made.view.Edge = name
		if made.view.ACME = name == acme; made.view.ACME {
			made.view.WithoutResolver, made.trying = f.ledger.view(now)
		}
		if e.trial != nil {
			made.step = e.trial.step
		}
		jobs = append(jobs, made)
	}
	f.bornAt = time.Time{}
	return jobs
}

// acmeEdgeLocked returns the name of the edge that obtains certificates: the
// configured one, else the first that is connected, for as long as it is not lost.
func (f *Feed) acmeEdgeLocked() string {
	if f.config.ACMEEdge != "" {
		return f.config.ACMEEdge
	}
	if e, ok := f.edges[f.acme]; ok && e.state != stateLost {
		return f.acme
	}
	for _, name := range f.order {
		if f.edges[name].state == stateConnected {
			f.acme = name
			break
		}
	}
	return f.acme
}

// render makes the documents that are due, one for each distinct view.
func (f *Feed) render() {
	f.mu.Lock()
	jobs := f.planLocked(time.Now())
	f.unlock()
	type made struct {
		document *proxyhook.Document
		err      error
	}
	done := map[string]made{}
	for _, j := range jobs {
		key := fmt.Sprintf("%p %s", j.picture, viewKey(j.view))
		m, ok := done[key]
		if !ok {
			m.document, m.err = f.config.Render(f.config.Settings, j.picture, j.view)
			if m.err == nil && (m.document == nil || len(m.document.JSON) == 0 || m.document.Hash == "") {
				m.err = fmt.Errorf("it is empty")
			}
			done[key] = m
		}
		f.mu.Lock()
		if m.err != nil {
			f.unrenderedLocked(j.edge, m.err)
		} else {
			j.edge.unrendered = ""
			f.unroutableLocked(m.document.LeftOut)
			f.installLocked(j.edge, m.document, j)
		}
		f.unlock()
	}
}

// unrenderedLocked says that no document could be made; the edge keeps what it has.
func (f *Feed) unrenderedLocked(e *edge, err error) {
	if e.unrendered == err.Error() {
		return
	}
	e.unrendered = err.Error()
	f.log.Error("Cannot render a document", "edge", e.name, "error", err)
	f.eventLocked("", "Edge %s keeps its routes: its document cannot be rendered: %v", e.name, err)
}

// unroutableLocked says which services no edge is told of, since what was
// accepted at their deploy is not any more.
func (f *Feed) unroutableLocked(leftOut map[string]error) {
	if len(leftOut) == 0 && len(f.unroutable) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(leftOut)) {
		if f.unroutable[name] == nil || f.unroutable[name].Error() != leftOut[name].Error() {
			f.log.Warn("Cannot route a service any more", "service", name, "error", leftOut[name])
			f.eventLocked(name, "No edge routes this service any more: %v", leftOut[name])
		}
	}
	f.unroutable = maps.Clone(leftOut)
}

// viewKey is equal for views whose documents are the same, whatever the edge is called.
func viewKey(v proxyhook.View) string {
	return fmt.Sprintf("%t %s %s", v.ACME, setKey(v.WithoutResolver), setKey(v.LeftOut))
}

func setKey(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), ",") }

// picture returns what the edge is to be told of a snapshot: all of it, unless
// the edge refused services of it. Those keep the routes that it accepted last,
// with their present endpoints, or are left out.
func (e *edge) picture(newest *fleet.Snapshot) (picture *fleet.Snapshot, leftOut, pending map[string]bool) {
	if len(e.convicted) == 0 && e.trial == nil {
		return newest, nil, nil
	}
	leftOut, pending = map[string]bool{}, map[string]bool{}
	picture = &fleet.Snapshot{Version: newest.Version, Services: slices.Clone(newest.Services)}
	for i := range picture.Services {
		r := &picture.Services[i]
		_, refused := e.convicted[r.Name]
		if !refused && e.trial != nil && !e.accepts(r) && !slices.Contains(e.trial.test, r.Name) {
			pending[r.Name] = true
		}
		if !refused && !pending[r.Name] {
			continue
		}
		if last, ok := e.accepted(r.Name); ok {
			r.Spec, r.Revision, r.Port = last.Spec, last.Revision, last.Port
		} else {
			leftOut[r.Name] = true
		}
	}
	return picture, leftOut, pending
}

// accepted returns the service as it stands in the newest document that the edge applied.
func (e *edge) accepted(name string) (*fleet.Routed, bool) {
	if e.good == nil || e.good.leftOut[name] {
		return nil, false
	}
	return e.good.picture.Find(name)
}

// accepts says whether the edge has applied a document with this spec of the service.
func (e *edge) accepts(r *fleet.Routed) bool {
	last, ok := e.accepted(r.Name)
	return ok && sameSpec(r, last.Spec, last.Revision)
}

// sameSpec says whether r stands for that spec. A service that was removed and
// deployed anew begins with revision 1 again.
func sameSpec(r *fleet.Routed, spec *fleet.Spec, revision int) bool {
	return r.Spec == spec || (r.Revision == revision && reflect.DeepEqual(r.Spec, spec))
}
