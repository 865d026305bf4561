package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestAPlacementAndVolumesAreShownInWords(t *testing.T) {
	got := showPlacement(fleet.Placement{
		Constraints: []fleet.Constraint{"zone==eu"}, Spread: []fleet.Spread{{Over: "rack", Required: true}, {Over: "node"}},
		AntiAffinity: "node", Prefer: []fleet.Constraint{"disk==ssd"}, Strategy: fleet.StrategyBinpack,
	})
	got = append(got, showVolumes([]fleet.Volume{{Name: "data", Path: "/data"}, {Name: "seed", Path: "/seed", ReadOnly: true}})...)
	want := []string{"zone==eu", "spread over rack, required within 1", "spread over node", "at most one for each node", "rather disk==ssd",
		"on the fullest node (binpack)", "data at /data", "seed at /seed, read only"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none := showPlacement(fleet.Placement{}); none != nil {
		t.Errorf("an empty placement is shown as %v", none)
	}
}
