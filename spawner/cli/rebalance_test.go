package cli

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
)

// balanced answers a rebalance with one move, and with a job when it is to be made.
func balanced(t *testing.T) *spawnerStub {
	t.Helper()
	return newSpawner(t, map[string]any{
		"POST /api/rebalance": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			plan := fleet.RebalancePlan{ID: "p1", Moves: []fleet.Move{{Service: "web", Replica: "web-0", From: "a", To: "b", Reason: "a is 80 % full, b 20 %"}}}
			answerJSON(w, http.StatusOK, plan)
		}),
	})
}

func TestAPlannedRebalanceIsShownAndNotMade(t *testing.T) {
	s := balanced(t)
	got := s.ask(t, "rebalance", "--plan", "--moves", "3")
	want := "REPLICA   FROM   TO   WHY\nweb-0     a      b    a is 80 % full, b 20 %\n"
	if got.code != 0 || got.out != want || s.body != `{"plan":true,"moves":3}` {
		t.Errorf("got %+v after %s", got, s.body)
	}
}

func TestARebalanceIsMadeOnlyWithConsent(t *testing.T) {
	for answer, agreed := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false} {
		s := balanced(t)
		got := run(t, "", answer, []string{"SPAWNER_URL", s.URL, "SPAWNER_TOKEN", "secret"}, "rebalance", "--detach")
		asked := len(s.questions()) == 2
		if asked != agreed || (got.code == 0) != agreed || !strings.Contains(got.err, "Make 1 move? [y/N]") {
			t.Errorf("%q: got %+v after %v", answer, got, s.questions())
		}
		if agreed && s.body != `{"moves":10,"id":"p1"}` {
			t.Errorf("it was consented to by %s", s.body)
		}
	}
	s := balanced(t)
	if got := s.ask(t, "rebalance", "--yes", "--detach"); got.code != 0 || strings.Contains(got.err, "[y/N]") || len(s.questions()) != 2 {
		t.Errorf("--yes: got %+v after %v", got, s.questions())
	}
}

func TestAQuestionThatNobodyAnswersEndsItsLine(t *testing.T) {
	for answer, want := range map[string]string{"": "Make 1 move? [y/N] \nspawner: nothing was moved: it was not agreed to; --yes does not ask\n",
		"n\n": "Make 1 move? [y/N] spawner: nothing was moved: it was not agreed to; --yes does not ask\n"} { // whoever types it ends the line
		got := run(t, "", answer, []string{"SPAWNER_URL", balanced(t).URL, "SPAWNER_TOKEN", "secret"}, "rebalance")
		if got.err != want || got.code != exitFailed {
			t.Errorf("%q: got %+v", answer, got)
		}
	}
}

func TestARebalanceThatCannotBeMeantIsRefused(t *testing.T) {
	for _, args := range [][]string{{"--moves", "0"}, {"-o", "json"}, {"--moves", "x"}, {"web"}} {
		s := balanced(t)
		if got := s.ask(t, slices.Concat([]string{"rebalance"}, args)...); got.code != 2 || len(s.questions()) > 0 {
			t.Errorf("%v: got %+v after %v", args, got, s.questions())
		}
	}
	s := newSpawner(t, map[string]any{"POST /api/rebalance": fleet.RebalancePlan{ID: "p0"}})
	if got := s.ask(t, "rebalance"); got.code != 0 || got.out != fmt.Sprintln("No replica would stand better elsewhere.") || len(s.questions()) != 1 {
		t.Errorf("nothing to move: got %+v", got)
	}
}

func TestAJobOfNoServiceIsOneOfTheNodes(t *testing.T) {
	job := fleet.Job{ID: "j1", Kind: fleet.JobRebalance, State: fleet.JobSucceeded}
	if got := jobDone(job); !strings.HasPrefix(got, "the nodes: rebalance done in ") {
		t.Errorf("it says %q", got)
	}
	job.State, job.Error = fleet.JobFailed, "no room"
	if got := jobError(job).Error(); got != "rebalance of the nodes failed: no room (job j1)" {
		t.Errorf("it says %q", got)
	}
}
