package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// foundlingPause lies between the two looks that a container must be unknown at
// before it is removed. It is longer than a spawner needs to find out that
// another one has taken its fleet over, whose containers it does not know.
const foundlingPause = 5 * time.Second

// foundlings are containers of this fleet that no replica knows of: an engine goes
// on with a create whose caller was killed, and the next process has made its
// list by then.
type foundlings struct {
	mu    sync.Mutex
	since map[string]map[string]time.Time // by node and container id: when it was first seen
	told  map[string]bool                 // by node and service: unknown ones that were told of
}

// look takes a node's list, without the replicas' own containers, and returns
// those that were there foundlingPause ago. Any is false when there is none at all.
func (f *foundlings) look(node string, unknown []fleet.Container, now time.Time) (old []fleet.Container, any bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]time.Time{}
	for _, c := range unknown {
		first, before := f.since[node][c.ID]
		if !before {
			first = now
		}
		seen[c.ID] = first
		if now.Sub(first) >= foundlingPause {
			old = append(old, c)
		}
	}
	f.since[node] = seen
	return old, len(unknown) > 0
}

// clearFoundlings removes the foundlings among a node's containers, and says whether
// there are more that may turn out to be some.
func (e *Engine) clearFoundlings(ctx context.Context, node string, found map[string]fleet.Container) (again bool) {
	var unknown []fleet.Container
	for _, c := range found {
		role := fleet.Role(c.Labels[fleet.LabelRole])
		if (role == fleet.RoleApp || role == fleet.RoleSandbox) && !e.names.has(node, c.Name) {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 { // one of ours may have been renamed by hand
		known := e.containerIDs(ctx)
		unknown = slices.DeleteFunc(unknown, func(c fleet.Container) bool { return known[c.ID] || !e.everKnew(ctx, c) })
	}
	old, again := e.foundlings.look(node, unknown, time.Now())
	for _, c := range old {
		e.log.Warn("Removing a container of this fleet that belongs to no replica", "service", c.Labels[fleet.LabelService], "node", node, "container", c.Name)
		e.record(fleet.Event{Type: fleet.EventWarning, Service: c.Labels[fleet.LabelService], NodeID: node,
			Message: fmt.Sprintf("Removing %s: it was made for a replica that is not there", c.Name)})
		if err := e.containers.Remove(ctx, node, c.ID); err != nil {
			e.log.Warn("Cannot remove a container that belongs to no replica", "node", node, "container", c.Name, "error", err)
			continue
		}
		if err := e.addresses.Release(ctx, node+"/"+c.Name); err != nil {
			e.log.Error("Cannot release addresses", "node", node, "container", c.Name, "error", err)
		}
	}
	return again
}

// containerIDs are those of every replica.
func (e *Engine) containerIDs(ctx context.Context) map[string]bool {
	known := map[string]bool{}
	for _, a := range e.actorList() {
		err := a.call(ctx, func() {
			for _, r := range slices.Concat(a.replicas, a.extra) {
				v := r.look()
				known[v.app.id], known[v.sandbox.id] = true, true
			}
		})
		if err != nil {
			e.log.Debug("A service went while its containers were asked for", "service", a.name, "error", err)
		}
	}
	return known
}

// everKnew says whether the service of a container is, or was once, known here.
// One that never was is of a database that was lost while the node did not
// answer: it goes on, and a start at which the node answers takes it up.
func (e *Engine) everKnew(ctx context.Context, c fleet.Container) bool {
	service := c.Labels[fleet.LabelService]
	if _, ok := e.actor(service); ok || service == "" {
		return true
	}
	jobs, err := e.jobs.List(ctx, service, false, 1)
	if err != nil {
		e.log.Error("Cannot look whether a service was ever known", "service", service, "error", err)
		return false
	}
	if len(jobs) == 0 && e.foundlings.tellOnce(c.Node, service) {
		e.record(fleet.Event{Type: fleet.EventWarning, Service: service, NodeID: c.Node,
			Message: fmt.Sprintf("%s runs on node %s and is not known here: a restart of the spawner takes it up", service, c.Node)})
	}
	return len(jobs) > 0
}

// tellOnce says whether an unknown service of a node has not been told of yet.
func (f *foundlings) tellOnce(node, service string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told == nil {
		f.told = map[string]bool{}
	}
	first := !f.told[node+"/"+service]
	f.told[node+"/"+service] = true
	return first
}
