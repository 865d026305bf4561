package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

var running = fleet.Job{ID: "j1", Kind: fleet.JobDeploy, Service: "api", Revision: 2, State: fleet.JobRunning, CreatedAt: at("10:23:45.000"), Steps: []fleet.Step{
	{Verb: "pull", State: fleet.JobSucceeded, Detail: "myapp:2", StartedAt: at("10:23:45.000"), EndedAt: at("10:23:46.500")},
	{Verb: "probe", Replica: "api-0", State: fleet.JobRunning, StartedAt: at("10:23:47.000")},
	{Verb: "drain", Replica: "api-0", State: fleet.JobQueued},
}}

// ended is running at its end.
func ended(state fleet.JobState, reason string) fleet.Job {
	job := running
	job.State, job.Error, job.EndedAt, job.Warnings = state, reason, at("10:23:50.000"), []string{"no edge is known"}
	job.Steps = append([]fleet.Step(nil), running.Steps...)
	job.Steps[1].State, job.Steps[1].EndedAt = state, at("10:23:49.000")
	return job
}

// deploying answers a deploy, and then the job as it is at each look.
func deploying(looks ...fleet.Job) map[string]any {
	var mu sync.Mutex
	return map[string]any{
		"POST /api/deploy":      fleet.Accepted{Service: "api", Revision: 2, JobID: "j1"},
		"GET /api/services/api": fleet.ServiceDetail{URLs: []string{"https://api.example.com"}},
		"GET /api/jobs/j1": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			answerJSON(w, http.StatusOK, looks[0])
			if len(looks) > 1 {
				looks = looks[1:]
			}
		}),
	}
}

func TestADeployIsFollowedToItsEnd(t *testing.T) {
	stub := newSpawner(t, deploying(running, ended(fleet.JobSucceeded, "")))
	got := stub.ask(t, "deploy", "--name", "api", "--image", "myapp:2")
	want := outcome{
		out: "Deployed api (revision 2) in 5s\nhttps://api.example.com\n",
		err: "  ✓ pull                                  1.5s  myapp:2\n  … probe api-0\n  ✓ probe api-0                             2s\nspawner: warning: no edge is known\n",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Error(diff)
	}
}

func TestTheExitCodeIsThatOfTheJob(t *testing.T) {
	for state, want := range map[fleet.JobState]string{
		fleet.JobFailed:   "spawner: deploy of api failed: api-0: not ready in 60s (job j1)\n",
		fleet.JobCanceled: "spawner: deploy of api was not done: a newer deploy took its place (job j1)\n",
	} {
		reason := map[fleet.JobState]string{fleet.JobFailed: "api-0: not ready in 60s", fleet.JobCanceled: "a newer deploy took its place"}[state]
		stub := newSpawner(t, deploying(ended(state, reason)))
		got := stub.ask(t, "deploy", "--name", "api")
		if got.code != exitFailed || got.out != "" || !strings.HasSuffix(got.err, want) {
			t.Errorf("%s: got %+v", state, got)
		}
		got = stub.ask(t, "deploy", "--name", "api", "-o", "json")
		var job fleet.Job
		if err := json.Unmarshal([]byte(got.out), &job); err != nil || got.code != exitFailed || job.State != state {
			t.Errorf("%s as JSON: got %+v, %v", state, got, err)
		}
	}
}

func TestADetachedDeployEndsOnceItIsAccepted(t *testing.T) {
	stub := newSpawner(t, deploying(running))
	if got := stub.ask(t, "deploy", "--name", "api", "--detach"); got.code != 0 || got.out != "api: job j1 is accepted\n" {
		t.Errorf("got %+v", got)
	}
	if got := len(stub.questions()); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
}

func TestADeployThatChangesNothingSaysSo(t *testing.T) {
	stub := newSpawner(t, map[string]any{"POST /api/deploy": fleet.Accepted{Service: "api", Revision: 2, Unchanged: true}})
	if got := stub.ask(t, "deploy", "--name", "api"); got.code != 0 || got.out != "api is unchanged (revision 2)\n" {
		t.Errorf("got %+v", got)
	}
}

func TestWhoStopsLookingIsToldThatTheJobGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	answers := deploying(running)
	answers["GET /api/jobs/j1"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	stub := newSpawner(t, answers)
	var out, errs bytes.Buffer
	code := Run(ctx, System{Out: &out, Err: &errs, LookupEnv: func(string) (string, bool) { return "", false }}, []string{"deploy", "--name", "api", "--host", stub.URL})
	if code != exitFailed || !strings.HasPrefix(errs.String(), "spawner: job j1 goes on") {
		t.Errorf("got %d, %s", code, errs.String())
	}
}

func TestAPlanIsShownAndNothingIsFollowed(t *testing.T) {
	stub := newSpawner(t, map[string]any{"POST /api/deploy": fleet.Plan{Service: "api", Revision: 3, Warnings: []string{"a rule was rewritten"},
		Steps: []fleet.Step{{Verb: "pull", Detail: "myapp:2"}, {Verb: "start", Replica: "api-0"}}}})
	got := stub.ask(t, "deploy", "--name", "api", "--dry-run")
	want := outcome{out: "api would become revision 3:\nSTEP    REPLICA   DETAIL\npull    -         myapp:2\nstart   api-0     -\n", err: "spawner: warning: a rule was rewritten\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Error(diff)
	}
}

func TestEachVerbAsksForItsOwn(t *testing.T) {
	done := func(kind fleet.JobKind) fleet.Job {
		return fleet.Job{ID: "j1", Kind: kind, Service: "api", Revision: 1, Replicas: 5, State: fleet.JobSucceeded, CreatedAt: at("10:23:45.000"), EndedAt: at("10:23:45.120")}
	}
	for _, test := range []struct {
		args, asked, body, said string
		kind                    fleet.JobKind
	}{
		{"scale api --replicas 5", "POST /api/services/api/scale", `{"replicas":5}`, "Scaled api to 5 in 120ms\n", fleet.JobScale},
		{"scale api=5", "POST /api/services/api/scale", `{"replicas":5}`, "Scaled api to 5 in 120ms\n", fleet.JobScale},
		{"scale api --replicas 0", "POST /api/services/api/scale", `{"replicas":0}`, "Scaled api to 5 in 120ms\n", fleet.JobScale},
		{"restart api", "POST /api/services/api/restart", "", "Restarted api in 120ms\n", fleet.JobRestart},
		{"rollback api", "POST /api/services/api/rollback", `{"revision":0}`, "Rolled api back (revision 1) in 120ms\n", fleet.JobRollback},
		{"rollback api --to 1", "POST /api/services/api/rollback", `{"revision":1}`, "Rolled api back (revision 1) in 120ms\n", fleet.JobRollback},
		{"wake api", "POST /api/services/api/wake", "", "api is awake in 120ms\n", fleet.JobWake},
		{"sleep api", "POST /api/services/api/sleep", "", "api is asleep in 120ms\n", fleet.JobSleep},
		{"rm api", "DELETE /api/services/api", "", "Removed api in 120ms\n", fleet.JobRemove},
		{"remove api", "DELETE /api/services/api", "", "Removed api in 120ms\n", fleet.JobRemove},
	} {
		stub := newSpawner(t, map[string]any{test.asked: fleet.Accepted{Service: "api", JobID: "j1"}, "GET /api/jobs/j1": done(test.kind), "GET /api/services/api": fleet.ServiceDetail{}})
		got := stub.ask(t, strings.Fields(test.args)...)
		if got.code != 0 || got.out != test.said || stub.questions()[0] != test.asked || stub.body != test.body {
			t.Errorf("%s: got %+v, asked %v with %s", test.args, got, stub.questions(), stub.body)
		}
	}
}

func TestOneOfSeveralThatFailsIsNamedAndTheOthersAreDone(t *testing.T) {
	stub := newSpawner(t, map[string]any{"POST /api/services/b/wake": fleet.Accepted{Service: "b"}})
	got := stub.ask(t, "wake", "a", "b")
	if got.code != exitFailed || got.out != "b: there was nothing to do\n" || !strings.HasPrefix(got.err, "spawner: a: ") {
		t.Errorf("got %+v", got)
	}
}

func TestACancelHasHappenedOnlyWhenTheJobIsCanceled(t *testing.T) {
	for state, code := range map[fleet.JobState]int{fleet.JobCanceled: 0, fleet.JobSucceeded: exitFailed} {
		job := running
		job.State = state
		stub := newSpawner(t, map[string]any{"DELETE /api/jobs/j1": running, "GET /api/jobs/j1": job})
		if got := stub.ask(t, "jobs", "cancel", "j1"); got.code != code {
			t.Errorf("%s: got %+v", state, got)
		}
	}
}

func TestOnATerminalWhatRunsIsOneLineThatIsWrittenAgain(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true)
	p.now = func() time.Time { return at("10:23:49.100") }
	p.show(running)
	p.show(running)
	p.show(ended(fleet.JobFailed, ""))
	p.end()
	want := "  ✓ pull                                  1.5s  myapp:2\n" +
		"  … probe api-0 2s\r\x1b[K  … probe api-0 2s\r\x1b[K" +
		"  ✗ probe api-0                             2s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOfManyStepsThatRunTheFirstAreNamed(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true)
	p.now = func() time.Time { return at("10:23:49.100") }
	job := running
	job.Steps = nil
	for index := range 5 {
		job.Steps = append(job.Steps, fleet.Step{Verb: "start", Replica: fleet.ReplicaName("api", index), State: fleet.JobRunning, StartedAt: at("10:23:45.000")})
	}
	p.show(job)
	if want := "  … start api-0 4s, start api-1 4s, 3 more"; out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func TestAttemptsAndARestartOfTheSpawnerAreShown(t *testing.T) {
	trying := func(attempts int, detail string, state fleet.JobState, started string) fleet.Job {
		job := running
		job.StartedAt = at(started)
		step := fleet.Step{Verb: "pull", State: state, Detail: detail, Attempts: attempts, StartedAt: at("10:23:45.000")}
		if state.Ended() {
			step.EndedAt = at("10:23:48.000")
		}
		job.Steps = []fleet.Step{step}
		return job
	}
	var out bytes.Buffer
	p := newProgress(&out, false)
	p.now = func() time.Time { return at("10:23:47.000") }
	const failed = "attempt 1 failed: the registry fails; again in 1s"
	for _, look := range []fleet.Job{
		trying(0, "", fleet.JobRunning, "10:23:45.000"),
		trying(1, failed, fleet.JobRunning, "10:23:45.000"),
		trying(1, failed, fleet.JobRunning, "10:23:45.000"),
		trying(0, "", fleet.JobRunning, "10:23:46.000"), // the next process
		trying(2, "myapp:2", fleet.JobSucceeded, "10:23:46.000"),
	} {
		p.show(look)
	}
	p.end()
	want := "  … pull\n  … pull  attempt 1 failed: the registry fails; again in 1s\n" +
		"  … the spawner was restarted and goes on with it\n  … pull\n" +
		"  ✓ pull                                    3s  myapp:2 (2 attempts)\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestATokenIsAloneOnStandardOutput(t *testing.T) {
	stub := newSpawner(t, map[string]any{"POST /api/tokens": fleet.Token{Name: "ci", Scope: fleet.ScopeDeploy, Token: "abc"}, "DELETE /api/tokens/ci": nil})
	if got := stub.ask(t, "token", "create", "ci", "--scope", "deploy", "--expires", "720h"); got != (outcome{out: "abc\n"}) || !sameJSON(t, stub.body, `{"name":"ci","scope":"deploy","expires_in":"720h0m0s"}`) {
		t.Errorf("got %+v, sent %s", got, stub.body)
	}
	if got := stub.ask(t, "token", "rm", "ci"); got != (outcome{out: "Removed token ci\n"}) {
		t.Errorf("got %+v", got)
	}
}
