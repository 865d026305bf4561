package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// Outcome is what would become of replicas that have to be placed.
type Outcome struct {
	Placed   []Move
	Unplaced []Move // To is empty; Reason says why
	Removed  []Move // To is empty: scaled away
	After    *Cluster
}

// Move is a replica that goes from one node to another.
type Move struct {
	Service  string
	Index    int
	From, To string // empty = it was not there before; it goes
	Reason   string
}

// displaced is a replica that needs a place.
type displaced struct {
	demand Demand
	move   Move
}

// WhatIf plays through the loss of nodes and other numbers of replicas, with
// the scheduler that really places, on a copy of the picture. Services that
// shrink give their room back first; then what the lost nodes held is placed
// anew, the largest replicas first, and then what services grow by. An unknown
// node or service is an error that names the field.
func WhatIf(p Picture, kill []string, scale map[string]int) (Outcome, error) {
	p.Nodes = slices.Clone(p.Nodes)
	for _, name := range kill {
		at := slices.IndexFunc(p.Nodes, func(n Node) bool { return n.Name == name })
		if at < 0 {
			return Outcome{}, fleet.InvalidField("kill", "there is no node %q", name)
		}
		p.Nodes[at].Closed = "killed"
	}
	for _, name := range slices.Sorted(maps.Keys(scale)) {
		if !slices.ContainsFunc(p.Services, func(s Service) bool { return s.Demand.Service == name }) {
			return Outcome{}, fleet.InvalidField("scale", "there is no service %q", name)
		}
		if want := scale[name]; want < 0 || want > fleet.MaxReplicas {
			return Outcome{}, fleet.InvalidField("scale", "%d replicas of %s are not between 0 and %d", want, name, fleet.MaxReplicas)
		}
	}
	more := growth(p.Services, scale)
	var removed, lost []displaced
	p.Services, removed = without(p.Services, "scaled", func(service string, r Replica) bool {
		want, ok := scale[service]
		return ok && r.Index >= want
	})
	p.Services, lost = without(p.Services, "killed", func(_ string, r Replica) bool { return slices.Contains(kill, r.Node) })
	largestFirst(lost)
	keepVolumes(p.Nodes, lost)
	outcome := Outcome{After: New(p)}
	for _, d := range removed {
		outcome.Removed = append(outcome.Removed, d.move)
	}
	outcome.place(lost)
	outcome.place(more)
	return outcome, nil
}

// keepVolumes leaves the volumes of replicas that are taken off a node on it.
func keepVolumes(nodes []Node, lost []displaced) {
	for _, d := range lost {
		for _, volume := range d.demand.Volumes {
			at := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == d.move.From })
			nodes[at].Volumes = append(slices.Clip(nodes[at].Volumes), volume.Name)
		}
	}
}

// without takes some replicas out of the services.
func without(services []Service, reason string, goes func(service string, r Replica) bool) (left []Service, gone []displaced) {
	for _, s := range services {
		stays := Service{Demand: s.Demand}
		for _, r := range s.Replicas {
			if goes(s.Demand.Service, r) {
				gone = append(gone, displaced{s.Demand, Move{Service: s.Demand.Service, Index: r.Index, From: r.Node, Reason: reason}})
			} else {
				stays.Replicas = append(stays.Replicas, r)
			}
		}
		left = append(left, stays)
	}
	return left, gone
}

// growth returns the replicas that are not there yet.
func growth(services []Service, scale map[string]int) []displaced {
	var more []displaced
	for _, name := range slices.Sorted(maps.Keys(scale)) {
		var demand Demand
		there := map[int]bool{}
		for _, s := range services {
			if s.Demand.Service == name {
				demand = s.Demand // of the last: the newest
				for _, r := range s.Replicas {
					there[r.Index] = true
				}
			}
		}
		for index := range scale[name] {
			if !there[index] {
				more = append(more, displaced{demand, Move{Service: name, Index: index, Reason: "scaled"}})
			}
		}
	}
	return more
}

// largestFirst orders replicas as they are best packed: those that are hard to
// place before those that fit into what is left.
func largestFirst(list []displaced) {
	slices.SortFunc(list, func(x, y displaced) int {
		return cmp.Or(
			cmp.Compare(y.demand.MemoryMB, x.demand.MemoryMB),
			cmp.Compare(y.demand.CPUShares, x.demand.CPUShares),
			strings.Compare(x.move.Service, y.move.Service),
			cmp.Compare(x.move.Index, y.move.Index),
		)
	})
}

func (o *Outcome) place(list []displaced) {
	for _, d := range list {
		node, err := o.After.Place(d.demand)
		if err != nil {
			d.move.Reason = err.Error()
			o.Unplaced = append(o.Unplaced, d.move)
			continue
		}
		d.move.To = node
		o.Placed = append(o.Placed, d.move)
	}
}

// Load is how full a node is.
type Load struct {
	Node                string
	Closed              string
	Replicas            int
	CPUShares, MemoryMB int // capacity; 0 = not known
	ReservedCPUShares   int
	ReservedMemoryMB    int
}

// Loads returns the load of each node, by name.
func (c *Cluster) Loads() []Load {
	list := make([]Load, len(c.nodes))
	for i := range c.nodes {
		n, s := &c.nodes[i], &c.states[i]
		list[i] = Load{
			Node: n.Name, Closed: n.Closed, Replicas: int(s.replicas), CPUShares: n.CPUShares, MemoryMB: n.MemoryMB,
			ReservedCPUShares: int(known64(n.CPUShares) - s.freeCPU), ReservedMemoryMB: int(known64(n.MemoryMB) - s.freeMemory),
		}
	}
	return list
}
