//go:build e2e

package e2e

import (
	"testing"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// nodesOf are the nodes that a service's replicas are on, with how many each has.
func nodesOf(service fleet.ServiceDetail) map[string]int {
	nodes := map[string]int{}
	for _, container := range service.Containers {
		nodes[container.NodeID]++
	}
	return nodes
}

// answeringReplicas counts the replicas of web that answer by an edge. It picks one
// of two drawn at random, so many are asked: that 60 miss one of four happens once
// in some 10 million times.
func answeringReplicas(s *stand.Stand, edge *stand.Edge) int {
	seen := map[string]bool{}
	for range 60 {
		seen[s.Do(stand.Request{Edge: edge, Host: "web.test"}).MustBe(200).Body] = true
	}
	return len(seen)
}

func TestReplicasAreSpreadOverNodesAndServeThroughEdgesOnAnyOfThem(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 3, Swarm: true}), stand.WithEdges(2))
	web := s.MockApp("web", "web.test")
	web.Replicas = 3
	s.Deploy(web)
	if nodes := nodesOf(s.Service("web")); len(nodes) != 3 {
		t.Errorf("3 replicas are on the nodes %v, want one on each", nodes)
	}
	for _, edge := range s.Edges {
		if answering := answeringReplicas(s, edge); answering != 3 {
			t.Errorf("%s leads to %d of 3 replicas", edge.Name, answering)
		}
	}
}
