package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"edgespawner/fleet"
)

// standing is a service with its replicas on these nodes, by index.
func standing(d Demand, nodes ...string) Service {
	s := Service{Demand: d}
	for i, node := range nodes {
		s.Replicas = append(s.Replicas, Replica{Index: i, Node: node})
	}
	return s
}

func TestARebalanceMovesWhatWouldStandBetter(t *testing.T) {
	named := func(name string, change func(*Demand)) Demand {
		d := demand(change)
		d.Service = name
		return d
	}
	draining := zones()
	draining[0].Closed = "draining"
	for name, test := range map[string]struct {
		nodes    []Node
		services []Service
		budget   int
		want     []string
	}{
		"nothing, where all is well": {zones(), []Service{standing(demand(nil), "node-1", "node-2", "node-3")}, 9, nil},
		"replicas of one service on one node": {zones(), []Service{standing(demand(nil), "node-1", "node-1", "node-1")}, 9,
			[]string{"web-0 node-1 -> node-2: node-1 has 3 replicas of it, node-2 0", "web-1 node-1 -> node-3: node-1 has 2 replicas of it, node-3 0"}},
		"within the budget": {zones(), []Service{standing(demand(nil), "node-1", "node-1", "node-1")}, 1,
			[]string{"web-0 node-1 -> node-2: node-1 has 3 replicas of it, node-2 0"}},
		"what a placement forbids first": {zones(), []Service{
			standing(named("api", nil), "node-1", "node-1"),
			standing(demand(func(d *Demand) { d.Placement.Constraints = []fleet.Constraint{"zone==us"} }), "node-3"),
		}, 1, []string{"web-0 node-3 -> node-2: zone==us does not hold"}},
		"what stands too close": {zones(), []Service{standing(demand(func(d *Demand) { d.Placement.AntiAffinity = "zone" }), "node-1", "node-4")}, 9,
			[]string{"web-0 node-1 -> node-2: a replica of web is in zone eu already"}},
		"zones of unequal number": {zones(), []Service{standing(demand(func(d *Demand) { d.Placement.Spread = []fleet.Spread{{Over: "zone"}} }), "node-1", "node-4")}, 9,
			[]string{"web-0 node-1 -> node-2: zone eu has 2 replicas of it, us 0"}},
		"nothing into room that another move leaves": {zones()[:3], []Service{
			standing(named("first", func(d *Demand) { d.MemoryMB, d.Placement.Constraints = 5*1024, []fleet.Constraint{"node==node-3"} }), "node-1"),
			standing(named("second", func(d *Demand) { d.MemoryMB, d.Placement.Constraints = 5*1024, []fleet.Constraint{"node==node-1"} }), "node-2"),
		}, 9, []string{"first-0 node-1 -> node-3: node==node-3 does not hold"}},
		"to where it is liked better": {zones(), []Service{standing(demand(func(d *Demand) { d.Placement.Prefer = []fleet.Constraint{"disk==hdd"} }), "node-1")}, 9,
			[]string{"web-0 node-1 -> node-4: more of what it prefers holds for node-4"}},
		"off a full node": {zones()[:2], []Service{
			standing(named("one", nil), "node-1"), standing(named("two", nil), "node-1"), standing(named("three", nil), "node-1"),
		}, 9, []string{"one-0 node-1 -> node-2: node-1 is 75 % full, node-2 0 %"}},
		"together, for those that pack": {zones()[:2], []Service{
			standing(named("one", func(d *Demand) { d.Placement.Strategy = fleet.StrategyBinpack; d.CPUShares = 2048 }), "node-1"),
			standing(named("two", func(d *Demand) { d.Placement.Strategy = fleet.StrategyBinpack }), "node-2"),
		}, 9, []string{"two-0 node-2 -> node-1: node-2 is 25 % full, node-1 50 %"}},
		"nothing to where it is liked better, if others then stood too close": {zones(), []Service{{
			Demand: demand(func(d *Demand) {
				d.Placement.Constraints, d.Placement.Prefer = []fleet.Constraint{"node!=node-4"}, []fleet.Constraint{"disk==hdd"}
				d.Placement.Spread = []fleet.Spread{{Over: "zone", Required: true, MaxSkew: 3}}
			}),
			Replicas: []Replica{
				{0, "node-1", false}, {1, "node-2", true}, {2, "node-2", true},
				{3, "node-3", true}, {4, "node-3", true}, {5, "node-3", true}, {6, "node-3", true},
			},
		}}, 9, nil},
		"nothing off a closed node, nothing that is pinned, nothing that writes": {draining, []Service{
			standing(demand(nil), "node-1", "node-1"),
			{Demand: named("api", nil), Replicas: []Replica{{0, "node-2", true}, {1, "node-2", true}}},
			standing(named("db", func(d *Demand) { d.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}} }), "node-3", "node-3"),
		}, 9, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, m := range Rebalance(Picture{Nodes: test.nodes, Services: test.services}, test.budget) {
				got = append(got, fmt.Sprintf("%s-%d %s -> %s: %s", m.Service, m.Index, m.From, m.To, m.Reason))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// carriedOut is a picture after a move. The volumes of what was moved stay where
// they are: an engine keeps them when the container goes.
func carriedOut(t *rapid.T, p Picture, m Move) Picture {
	p.Services, p.Nodes = slices.Clone(p.Services), slices.Clone(p.Nodes)
	for s := range p.Services {
		if p.Services[s].Demand.Service == m.Service {
			from := slices.IndexFunc(p.Nodes, func(n Node) bool { return n.Name == m.From })
			for _, v := range p.Services[s].Demand.Volumes {
				p.Nodes[from].Volumes = append(slices.Clone(p.Nodes[from].Volumes), v.Name)
			}
		}
		replicas := slices.Clone(p.Services[s].Replicas)
		p.Services[s].Replicas = replicas
		for r := range replicas {
			if p.Services[s].Demand.Service == m.Service && replicas[r].Index == m.Index {
				if replicas[r].Node != m.From || replicas[r].Pinned {
					t.Fatalf("%+v moves %+v", m, replicas[r])
				}
				replicas[r].Node = m.To
			}
		}
	}
	return p
}

func TestEveryMoveOfARebalanceIsAllowedAndNoneIsUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPicture(t)
		for s := range p.Services { // as others have left it
			for r := range p.Services[s].Replicas {
				p.Services[s].Replicas[r].Pinned = rapid.IntRange(0, 3).Draw(t, "pinned") == 0
				if rapid.Bool().Draw(t, "elsewhere") {
					p.Services[s].Replicas[r].Node = rapid.SampledFrom(p.Nodes).Draw(t, "node").Name
				}
			}
		}
		budget := rapid.IntRange(0, 8).Draw(t, "budget")
		moves := Rebalance(p, budget)
		beside := &oracle{p.Nodes, slices.Clone(p.Services)}
		if len(moves) > budget {
			t.Fatalf("%d moves for %d", len(moves), budget)
		}
		moved := map[string]bool{}
		for _, m := range moves {
			d := p.Services[slices.IndexFunc(p.Services, func(s Service) bool { return s.Demand.Service == m.Service })].Demand
			d.Replaces = m.From
			o := &oracle{p.Nodes, p.Services}
			replica := fleet.ReplicaName(m.Service, m.Index)
			if m.From == m.To || moved[replica] || m.Reason == "" || o.node(m.From).Closed != "" || !o.fits(&d, o.node(m.To)) {
				t.Fatalf("%+v is not allowed (%v)", m, moves)
			}
			moved[replica] = true
			if !beside.fits(&d, beside.node(m.To)) {
				t.Fatalf("%+v finds no place beside what stands (%v)", m, moves)
			}
			beside.put(d, m.To)
			p = carriedOut(t, p, m)
		}
	})
}
