package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"edgespawner/fleet"
)

// whole is the measure of a picture in all.
func whole(p Picture) (measure, float64) {
	b := newBalance(p)
	var sum measure
	for _, stands := range b.stands {
		m := b.measure(stands)
		sum.forbidden += m.forbidden
		sum.crowded += m.crowded
		sum.liked += m.liked
		sum.peers += m.peers
		for s, uneven := range m.uneven {
			if s == len(sum.uneven) {
				sum.uneven = append(sum.uneven, 0)
			}
			sum.uneven[s] += uneven
		}
	}
	load := 0.0
	for i := range b.nodes {
		s, packed := b.states[i], b.packed[i]
		of := b.sizes[s.size]
		load += float64(2*packed.cpu*packed.cpu-s.loadCPU*s.loadCPU) / of.cpu / b.mean.cpu
		load += float64(2*packed.memory*packed.memory-s.loadMemory*s.loadMemory) / of.memory / b.mean.memory
	}
	return sum, load
}

// keepStanding leaves the volumes on the nodes, whatever becomes of the replicas.
func keepStanding(p Picture) {
	for _, s := range p.Services {
		var stand []displaced
		for _, r := range s.Replicas {
			stand = append(stand, displaced{s.Demand, Move{From: r.Node}})
		}
		keepVolumes(p.Nodes, stand)
	}
}

func TestRebalancesEachMakeTheWholeBetterUntilNothingIsLeftToMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPicture(t)
		for s := range p.Services { // as others have left it
			for r := range p.Services[s].Replicas {
				p.Services[s].Replicas[r].Pinned = rapid.IntRange(0, 5).Draw(t, "pinned") == 0
				if rapid.Bool().Draw(t, "elsewhere") {
					p.Services[s].Replicas[r].Node = rapid.SampledFrom(p.Nodes).Draw(t, "node").Name
				}
			}
		}
		keepStanding(p)
		budget := rapid.IntRange(1, 8).Draw(t, "budget")
		const enough = 50
		for range enough {
			moves := Rebalance(p, budget)
			if len(moves) == 0 {
				return
			}
			before, loadBefore := whole(p)
			for _, m := range moves {
				p = carriedOut(t, p, m)
			}
			after, load := whole(p)
			if order := after.compare(&before); order < 0 || order == 0 && load <= loadBefore {
				t.Fatalf("%v leads from %+v, %v to %+v, %v", moves, before, loadBefore, after, load)
			}
		}
		t.Fatalf("moves are planned after %d rebalances still", enough)
	})
}

func TestWhatPacksAndWhatSpreadsDoNotFollowEachOtherInARebalance(t *testing.T) {
	const gib = 1024
	var nodes []Node
	for i := range 3 {
		nodes = append(nodes, Node{Name: fmt.Sprintf("node-%d", i+1), CPUShares: 2 * 1024, MemoryMB: 23*gib + gib/2})
	}
	large := Demand{Service: "dr", MemoryMB: 23000}
	small := Demand{Service: "p6", MemoryMB: 64, Placement: fleet.Placement{Strategy: fleet.StrategyBinpack}}
	for _, at := range [][2]string{{"node-3", "node-2"}, {"node-2", "node-3"}} {
		p := Picture{Nodes: nodes, Services: []Service{standing(large, at[0]), standing(small, at[1], at[1], at[1], at[1])}}
		if moves := Rebalance(p, fleet.DefaultMoves); len(moves) != 0 {
			t.Errorf("dr on %s, p6 on %s: %v", at[0], at[1], moves)
		}
	}
	large.MemoryMB, small.MemoryMB = 16*gib, 2*gib // the fullest is where what spreads is, and still has room
	moves := Rebalance(Picture{Nodes: nodes, Services: []Service{standing(large, "node-3"), standing(small, "node-1", "node-1", "node-2")}}, fleet.DefaultMoves)
	if len(moves) != 1 || moves[0].From != "node-2" || moves[0].To != "node-1" {
		t.Errorf("of what packs, one is apart from the others: %v", moves)
	}
}
