package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// stockTimeout bounds how long a node is waited for that is asked what it has;
// what was known of it counts when it does not say.
const stockTimeout = 3 * time.Second

// portsLast is for how long it counts that a stranger held a port of a node:
// what is placed without asking, such as what a lost node leaves, may find it free.
const portsLast = time.Minute

// takeStock asks a node which images and volumes it has, and what strangers have
// there; a fleet that was not there before is told.
func (e *Engine) takeStock(ctx context.Context, m *member) {
	ctx, cancel := context.WithTimeout(ctx, stockTimeout)
	defer cancel()
	stock, err := e.stock.Stock(ctx, m.name)
	if err != nil {
		e.log.Debug("Cannot ask a node what it has", "node", m.name, "error", err)
		return
	}
	m.mu.Lock()
	before := m.stock.Fleets
	m.stock, m.stocked = stock, time.Now()
	m.mu.Unlock()
	for _, id := range stock.Fleets {
		if !slices.Contains(before, id) {
			e.record(fleet.Event{Type: fleet.EventWarning, NodeID: m.name,
				Message: fmt.Sprintf("Fleet %s has containers on node %s too: they are left alone, and what they use is not counted in the node's reservations", id, m.name)})
		}
	}
}

// takeStockFor asks the nodes before a service with volumes or host ports is
// placed: it goes where those are and these are free, and that may have changed
// since the last time.
func (e *Engine) takeStockFor(ctx context.Context, spec *fleet.Spec) {
	if len(spec.Volumes) == 0 && !slices.ContainsFunc(spec.Ports, func(p fleet.Port) bool { return p.HostPort != 0 }) {
		return
	}
	var group sync.WaitGroup
	for _, m := range e.members.list() {
		if e.members.answers(m.name) {
			group.Go(func() { e.takeStock(ctx, m) })
		}
	}
	group.Wait()
}

// platforms are those that an image is made for; nil = not known. One that a
// registry gives may be had for others too.
func platforms(image fleet.Image) []string {
	if image.Digest != "" || image.Platform == "" {
		return nil
	}
	return []string{image.Platform}
}
