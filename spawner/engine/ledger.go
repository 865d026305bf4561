package engine

import (
	"fmt"
	"sync"

	"edgespawner/fleet"
	"edgespawner/scheduler"
)

// ledger knows what every replica takes of its node, also while it sleeps and
// from before its containers are made: so deploys side by side cannot overbook one.
type ledger struct {
	mu     sync.Mutex // held from the choice of a node until it is written down
	claims map[*claim]bool
	on     map[string]map[*claim]bool // the same by node
}

// claim is one replica's place on a node.
type claim struct {
	node   string
	index  int
	demand scheduler.Demand
	// replaced: it is in the place of none any more, and waits to be removed. It is no
	// replica of its node, and holds what it has there until it is gone. Of the ledger's lock.
	replaced bool
}

func newLedger() *ledger {
	return &ledger{claims: map[*claim]bool{}, on: map[string]map[*claim]bool{}}
}

// hold writes down a replica that stands on a node already.
func (l *ledger) hold(node string, spec *fleet.Spec, index int) *claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holdLocked(node, spec, index)
}

func (l *ledger) holdLocked(node string, spec *fleet.Spec, index int) *claim {
	c := &claim{node: node, index: index, demand: scheduler.DemandOf(spec)}
	l.keepLocked(c)
	return c
}

func (l *ledger) keepLocked(c *claim) {
	l.claims[c] = true
	if l.on[c.node] == nil {
		l.on[c.node] = map[*claim]bool{}
	}
	l.on[c.node][c] = true
}

// release gives a place up; nil and one that was given up before are nothing.
func (l *ledger) release(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(c)
}

func (l *ledger) releaseLocked(c *claim) {
	if c == nil {
		return
	}
	delete(l.claims, c)
	delete(l.on[c.node], c)
	if len(l.on[c.node]) == 0 {
		delete(l.on, c.node)
	}
}

// replaced notes whether another is in a replica's place; nil is nothing.
func (l *ledger) replaced(c *claim, replaced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c != nil {
		c.replaced = replaced
	}
}

// servicesOn returns the names of the services that have something on a node.
func (l *ledger) servicesOn(node string) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make(map[string]bool, len(l.on[node]))
	for c := range l.on[node] {
		names[c.demand.Service] = true
	}
	return names
}

// count returns how many replicas each node has, without those that wait to be removed.
func (l *ledger) count() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := make(map[string]int, len(l.on))
	for node, claims := range l.on {
		for c := range claims {
			if !c.replaced {
				count[node]++
			}
		}
	}
	return count
}

// stands returns the first node, of those that are good, that has a replica of a service; empty = none.
func (l *ledger) stands(service string, good func(node string) bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := ""
	for c := range l.claims {
		if c.demand.Service == service && !c.replaced && (first == "" || c.node < first) && good(c.node) {
			first = c.node
		}
	}
	return first
}

// seat is what a replica that is to be placed asks for.
type seat struct {
	spec  *fleet.Spec
	index int
	// platforms are those that the image is made for; nil = not known.
	platforms []string
	// from is the node of the replica that goes when this one serves; empty = none does.
	from string
	// to is the node that it is to come to; empty = where it fits best.
	to string
	// fixed says that it joins the sandbox of that one.
	fixed bool
}

// spot is where a seat is to be.
type spot struct {
	node string
	// stopFirst says that there is no room beside the replica that goes, and in its place there is.
	stopFirst bool
}

// placed is where a seat is.
type placed struct {
	claim     *claim
	stopFirst bool // as that of its spot
}

// place chooses nodes for all seats, or for none, and holds them. A replica that
// takes the place of another stays on its node if it can.
func (l *ledger) place(nodes []scheduler.Node, seats []seat) ([]placed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spots, err := l.findLocked(nodes, seats)
	if err != nil {
		return nil, err
	}
	list := make([]placed, len(spots))
	for i, s := range spots {
		list[i] = placed{l.holdLocked(s.node, seats[i].spec, seats[i].index), s.stopFirst}
	}
	return list, nil
}

// replace finds another place for the replica of a claim, and holds it. The claim
// counts for no replica any more, and holds what it has until it is released.
func (l *ledger) replace(c *claim, nodes []scheduler.Node, s seat) (*claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(c)
	spots, err := l.findLocked(nodes, []seat{s})
	l.keepLocked(c)
	if err != nil {
		return nil, err
	}
	if spots[0].stopFirst {
		return nil, fleet.Errorf(fleet.Unavailable, "%s has room on node %s only when the replica there has gone", s.spec.Name, spots[0].node)
	}
	c.replaced = true
	return l.holdLocked(spots[0].node, s.spec, s.index), nil
}

// look says where seats would be placed, as place does, and holds nothing.
func (l *ledger) look(nodes []scheduler.Node, seats []seat) ([]spot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.findLocked(nodes, seats)
}

// findLocked chooses nodes for all seats, each of which counts for those after it.
func (l *ledger) findLocked(nodes []scheduler.Node, seats []seat) ([]spot, error) {
	cluster := l.clusterLocked(nodes)
	list := make([]spot, len(seats))
	for i, s := range seats {
		node, stopFirst, err := choose(cluster, s)
		if err != nil {
			after := "" // what holds of the nodes once those before have their places
			if i > 0 {
				after = fmt.Sprintf("after %d of %s, ", i, fleet.Counted(len(seats), "replica"))
			}
			return nil, fleet.Errorf(fleet.Unavailable, "%s cannot be placed: %s%s", s.spec.Name, after, err)
		}
		list[i] = spot{node, stopFirst}
	}
	return list, nil
}

// choose finds the node for a seat and holds it in the cluster.
func choose(cluster *scheduler.Cluster, s seat) (node string, stopFirst bool, err error) {
	demand := scheduler.DemandOf(s.spec)
	demand.Replaces, demand.Platforms = s.from, s.platforms
	if s.to != "" {
		if !cluster.Fits(s.to, demand) {
			return "", false, fmt.Errorf("node %s has no room for it any more", s.to)
		}
		cluster.Hold(s.to, demand)
		return s.to, false, nil
	}
	if s.fixed || s.from != "" && cluster.Fits(s.from, demand) {
		cluster.Hold(s.from, demand)
		return s.from, false, nil
	}
	node, err = cluster.Place(demand)
	if err == nil || s.from == "" {
		return node, false, err
	}
	demand.Replaces = ""
	if !cluster.Release(s.from, demand) {
		return "", false, err
	}
	if cluster.Fits(s.from, demand) {
		cluster.Hold(s.from, demand)
		return s.from, true, nil
	}
	return "", false, err
}

// clusterLocked is the scheduler's picture of the nodes and of all that is written down.
func (l *ledger) clusterLocked(nodes []scheduler.Node) *scheduler.Cluster {
	cluster := scheduler.New(scheduler.Picture{Nodes: nodes})
	for c := range l.claims {
		cluster.Hold(c.node, c.demand)
	}
	return cluster
}

// String is the place in words.
func (c *claim) String() string { return onNode(c.node) }
