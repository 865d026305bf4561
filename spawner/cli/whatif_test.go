package cli

import (
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestWhatIfShowsMovesAndLoads(t *testing.T) {
	s := newSpawner(t, map[string]any{"POST /api/whatif": fleet.WhatIfAnswer{
		Placed:   []fleet.Move{{Service: "web", Replica: "web-1", From: "node-2", To: "node-1", Reason: "killed"}},
		Unplaced: []fleet.Move{{Service: "db", Replica: "db-0", From: "node-2", Reason: "1 node: 512 MB short; 1 node: killed"}},
		Removed:  []fleet.Move{{Service: "api", Replica: "api-1", From: "node-1", Reason: "scaled"}},
		Nodes: []fleet.NodeLoad{
			{Name: "node-1", Replicas: 3, CPUShares: 4096, ReservedCPUShares: 1536, MemoryMB: 2048, ReservedMemoryMB: 1024},
			{Name: "node-2", Closed: "killed"},
		},
	}})
	got := s.ask(t, "whatif", "--kill", "node-2", "--scale", "api=1")
	want := `REPLICA   FROM     TO       WHY
db-0      node-2   -        1 node: 512 MB short; 1 node: killed
web-1     node-2   node-1   killed
api-1     node-1   -        scaled

NODE     REPLICAS   CPUS RESERVED   MEMORY RESERVED   TAKES REPLICAS
node-1   3          1.5 of 4        1024 of 2048 MB   yes
node-2   0          0               0 MB              no: killed

1 replica would find no place.
`
	if got.code != 0 || got.out != want {
		t.Errorf("got %d\n%s%s\nwant\n%s", got.code, got.out, got.err, want)
	}
	if s.body != `{"kill":["node-2"],"scale":{"api":1}}` {
		t.Errorf("asked with %s", s.body)
	}
}

func TestAWhatIfWithoutAQuestionIsRefused(t *testing.T) {
	for _, args := range [][]string{{"whatif"}, {"whatif", "--scale", "api"}, {"whatif", "--scale", "api=many"}, {"whatif", "--scale", "=3"}} {
		s := newSpawner(t, nil)
		if got := s.ask(t, args...); got.code == 0 || !strings.Contains(got.err, "--scale") || len(s.questions()) > 0 {
			t.Errorf("%v: got %+v, asked %v", args, got, s.questions())
		}
	}
}
