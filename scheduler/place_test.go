package scheduler

import (
	"testing"

	"edgespawner/fleet"
)

func TestAReplicaGoesToTheFittingNodeWithTheFewestReplicas(t *testing.T) {
	nodes := []fleet.Node{
		{Name: "a", Replicas: 2}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 1},
		{Name: "d", Draining: true}, {Name: "e", State: fleet.NodeSilent},
	}
	got, err := Place(nodes, Demand{})
	if err != nil || got != "b" {
		t.Errorf("got %q, %v; want b", got, err)
	}
}

func TestWhatFitsNowhereIsExplainedMostFrequentReasonFirst(t *testing.T) {
	nodes := []fleet.Node{
		{Name: "a", Draining: true},
		{Name: "b", CPUs: 2, MemoryMB: 1024}, {Name: "c", CPUs: 2, MemoryMB: 1024},
	}
	_, err := Place(nodes, Demand{MemoryMB: 2048})
	const want = "2 nodes: each has 1024 MB of memory, 2048 are wanted; 1 node is draining"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Place(nil, Demand{}); err == nil {
		t.Error("no node at all was accepted")
	}
	if _, err := Place(nodes[1:], Demand{CPUShares: 4096}); err == nil {
		t.Error("4 CPUs fit on nodes with 2")
	}
}
