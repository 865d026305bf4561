//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// mustSay runs the command line and reads the JSON that it prints.
func mustSay[T any](t *testing.T, s *stand.Stand, args ...string) (said T) {
	t.Helper()
	output := mustRun(t, s, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(output), &said); err != nil {
		t.Fatalf("spawner %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return said
}

func TestReplicasAreMovedAsPlannedAndAVolumeKeepsItsServiceInItsPlace(t *testing.T) {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: 3, Swarm: true}))
	collector := s.StartCollector()
	for _, node := range []string{"node-2", "node-3"} {
		mustSay[fleet.Node](t, s, "node", "drain", node)
	}
	s.Deploy(counted(s, collector, "web", 3))
	for _, node := range []string{"node-2", "node-3"} {
		mustSay[fleet.Node](t, s, "node", "resume", node)
	}
	before := fmt.Sprint(nodesOf(s.Service("web")))

	answer := mustSay[fleet.WhatIfAnswer](t, s, "whatif", "--kill", "node-1", "--scale", "web=4")
	if len(answer.Placed) != 4 || len(answer.Unplaced) != 0 || answer.Nodes[1].Replicas != 2 || answer.Nodes[2].Replicas != 2 {
		t.Errorf("what if: %+v", answer)
	}
	plan := mustSay[fleet.RebalancePlan](t, s, "rebalance", "--plan")
	if after := fmt.Sprint(nodesOf(s.Service("web"))); before != "map[node-1:3]" || after != before || len(plan.Moves) != 2 {
		t.Fatalf("the replicas were on %s, and are on %s after the plan %+v", before, after, plan)
	}
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	if job := mustSay[fleet.Job](t, s, "rebalance", "--yes"); job.State != fleet.JobSucceeded {
		t.Errorf("%+v", job)
	}
	traffic.Stop().MustBeClean(t)
	if nodes := nodesOf(s.Service("web")); len(nodes) != 3 {
		t.Errorf("after the rebalance they are on %v", nodes)
	}

	db := pinned(s, "db", "node-2")
	db.Volumes = []fleet.Volume{{Name: "e2e-" + s.Suffix, Path: "/data"}}
	s.Deploy(db)
	s.Remove("db")
	db.Placement = fleet.Placement{}
	db.Replicas = 2
	s.Deploy(db)
	if nodes := fmt.Sprint(nodesOf(s.Service("db"))); nodes != "map[node-2:2]" {
		t.Errorf("the volume is on node-2, the replicas on %s", nodes)
	}
	s.Get("db.test", "/").MustBe(200)
	if output, code := s.CLI("rm", "db", "--volumes"); code != 0 {
		t.Errorf("exit code %d\n%s", code, output)
	}
	if left := dockerOn(t, s.Lab.Nodes[1], "volume", "ls", "-q", "--filter", "name="+db.Volumes[0].Name); left != "" {
		t.Errorf("the volume %s is left", left)
	}
}
