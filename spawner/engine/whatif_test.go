package engine

import (
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestWhatIfAnswersFromWhatStandsAndTouchesNothing(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 4)
		spec.Resources.MemoryMB = 512
		w.deployed(spec)
		before := w.picture()
		answer, err := w.engine().WhatIf(t.Context(), fleet.WhatIf{Kill: []string{"b"}, Scale: map[string]int{"web": 5}})
		if err != nil {
			t.Fatal(err)
		}
		for _, move := range answer.Placed {
			if move.To != "a" {
				t.Errorf("%+v", move)
			}
		}
		if len(answer.Placed) != 3 || len(answer.Unplaced) != 0 || fmt.Sprint(answer.Nodes[0].Replicas, answer.Nodes[0].ReservedMemoryMB, answer.Nodes[1].Replicas) != "5 2560 0" {
			t.Errorf("got %+v", answer)
		}
		if after := w.picture(); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		if _, err := w.engine().WhatIf(t.Context(), fleet.WhatIf{Kill: []string{"z"}}); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("an unknown node: %v", err)
		}
	})
}

func TestARebalanceIsPlannedThenMadeAsItWasShown(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.engine().DrainNode(w.ctx, "b")
		w.deployed(w.spec("web", "app:1", 4))
		direct := w.spec("fixed", "app:2", 2)
		direct.Update.Order = fleet.StopFirst
		w.deployed(direct)
		w.engine().ResumeNode(w.ctx, "b")
		before := w.picture()
		plan, err := w.engine().Rebalance(w.ctx, fleet.Rebalance{Plan: true}, "tester")
		if err != nil || len(plan.Moves) != 2 || plan.JobID != "" {
			t.Fatalf("got %+v, %v", plan, err)
		}
		for _, move := range plan.Moves {
			if move.Service != "web" || move.From != "a" || move.To != "b" || move.Reason == "" {
				t.Errorf("%+v", move)
			}
		}
		if after := w.picture(); after != before {
			t.Errorf("the plan changed\n%s\nto\n%s", before, after)
		}
		if _, err := w.engine().Rebalance(w.ctx, fleet.Rebalance{ID: plan.ID, Moves: 1}, "tester"); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("consent to another plan: %v", err)
		}
		defer w.traffic("web", 7*time.Millisecond, 20*time.Millisecond)()
		made, err := w.engine().Rebalance(w.ctx, fleet.Rebalance{ID: plan.ID}, "tester")
		if err != nil {
			t.Fatal(err)
		}
		if job := w.wait(fleet.Accepted{JobID: made.JobID}); job.State != fleet.JobSucceeded {
			t.Errorf("%s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		if got := fmt.Sprint(w.spread("web"), w.spread("fixed")); got != "map[a:2 b:2] map[a:2]" {
			t.Errorf("they stand on %s", got)
		}
		if again, err := w.engine().Rebalance(w.ctx, fleet.Rebalance{}, "tester"); err != nil || len(again.Moves) != 0 || again.JobID != "" {
			t.Errorf("once more: %+v, %v", again, err)
		}
	})
}
