package scheduler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"edgespawner/fleet"
)

func told(o Outcome) string {
	var lines []string
	for _, list := range [][]Move{o.Removed, o.Placed, o.Unplaced} {
		for _, m := range list {
			lines = append(lines, fmt.Sprintf("%s-%d %s>%s %s", m.Service, m.Index, m.From, m.To, m.Reason))
		}
	}
	return strings.Join(lines, "\n")
}

func TestWhatIfANodeIsLostAndAServiceScaled(t *testing.T) {
	big := demand(func(d *Demand) { d.Service, d.MemoryMB = "big", 6*1024 })
	writer := demand(func(d *Demand) { d.Service = "db"; d.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}} })
	p := Picture{Nodes: zones()[:3], Services: []Service{
		standing(demand(nil), "node-1", "node-2", "node-3"), standing(big, "node-2"), standing(writer, "node-2"),
	}}
	for _, test := range []struct {
		kill  []string
		scale map[string]int
		want  string
	}{
		{nil, nil, ""},
		{[]string{"node-2"}, nil, "big-0 node-2>node-1 killed\nweb-1 node-2>node-3 killed\ndb-0 node-2> 2 nodes: the volume data is on node-2; 1 node: killed"},
		{nil, map[string]int{"web": 4, "big": 0}, "big-0 node-2> scaled\nweb-3 >node-1 scaled"},
		{[]string{"node-2"}, map[string]int{"web": 1, "big": 3}, "web-1 node-2> scaled\nweb-2 node-3> scaled\nbig-0 node-2>node-3 killed\nbig-1 >node-1 scaled\n" +
			"db-0 node-2> 2 nodes: the volume data is on node-2; 1 node: killed\nbig-2 > 2 nodes: 4096 to 5120 MB short; 1 node: killed"},
	} {
		got, err := WhatIf(p, test.kill, test.scale)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, told(got)); diff != "" {
			t.Errorf("%v %v: %s", test.kill, test.scale, diff)
		}
	}
	for field, ask := range map[string]func() (Outcome, error){
		"kill":  func() (Outcome, error) { return WhatIf(p, []string{"node-9"}, nil) },
		"scale": func() (Outcome, error) { return WhatIf(p, nil, map[string]int{"nobody": 2}) },
	} {
		if _, err := ask(); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("got %v, want an error about %s", err, field)
		}
	}
	if _, err := WhatIf(p, nil, map[string]int{"web": -1}); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("-1 replicas: got %v", err)
	}
}

func TestLoadsTellWhatIsReservedOnEachNode(t *testing.T) {
	nodes := zones()[:2]
	nodes[1].MemoryMB = 0
	outcome, err := WhatIf(Picture{Nodes: nodes, Services: []Service{standing(demand(nil), "node-1", "node-2")}}, []string{"node-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Load{{Node: "node-1", Closed: "killed", CPUShares: 4096, MemoryMB: 8192}, {Node: "node-2", Replicas: 2, CPUShares: 4096, ReservedCPUShares: 2048, ReservedMemoryMB: 2048}}
	if diff := cmp.Diff(want, outcome.After.Loads()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIfTouchesNothingAndForgetsNoReplica(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPicture(t)
		before := fmt.Sprintf("%+v", p)
		var kill []string
		for _, n := range p.Nodes {
			if rapid.IntRange(0, 3).Draw(t, "kill") == 0 {
				kill = append(kill, n.Name)
			}
		}
		scale := map[string]int{"api": rapid.IntRange(0, 8).Draw(t, "api")}
		outcome, err := WhatIf(p, kill, scale)
		if err != nil {
			t.Fatal(err)
		}
		if after := fmt.Sprintf("%+v", p); after != before {
			t.Fatalf("the picture was %s\nand is %s", before, after)
		}
		wanted := scale["api"] + len(p.Services[0].Replicas) + len(p.Services[2].Replicas)
		stand := len(outcome.Unplaced)
		for _, load := range outcome.After.Loads() {
			stand += load.Replicas
			if load.Closed == "killed" && load.Replicas > 0 {
				t.Errorf("%+v", load)
			}
		}
		if stand != wanted {
			t.Errorf("%d replicas stand or are told to have no place, %d are wanted", stand, wanted)
		}
	})
}
