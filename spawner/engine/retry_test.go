package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	about := func(kind fleet.Kind, field string) error { return &fleet.Error{Kind: kind, Field: field, Message: "x"} }
	asking := func(pause time.Duration) error {
		return &fleet.Error{Kind: fleet.Busy, Message: "x", RetryAfter: pause}
	}
	for name, row := range map[string]struct {
		err    error
		pauses []time.Duration // after each attempt, until it is given up
	}{
		"an engine that does not answer":          {about(fleet.Unavailable, ""), seconds(1, 2, 4, 8, 15)},
		"a registry that fails":                   {about(fleet.Unavailable, "image"), seconds(1, 2, 4, 8, 15)},
		"wrapped on its way":                      {fmt.Errorf("cannot start web-0: %w", about(fleet.Unavailable, "")), seconds(1, 2, 4, 8, 15)},
		"joined with another":                     {errors.Join(about(fleet.Unavailable, ""), errors.New("y")), seconds(1, 2, 4, 8, 15)},
		"a registry that asks for a pause":        {asking(10 * time.Second), seconds(10, 10, 10, 10, 15)},
		"a registry that asks for a long pause":   {asking(time.Hour), nil},
		"a name that is taken":                    {about(fleet.Conflict, "name"), seconds(1, 2)},
		"a port that is held":                     {about(fleet.Conflict, "host_port"), nil},
		"a state that forbids it":                 {about(fleet.Conflict, ""), nil},
		"an image that is not there":              {about(fleet.NotFound, "image"), nil},
		"a network that is not there":             {about(fleet.NotFound, "networks"), seconds(1, 2, 4, 8, 15)},
		"a spec that the engine refuses":          {about(fleet.Invalid, "command"), nil},
		"a route that an edge refuses":            {about(fleet.Invalid, ""), nil},
		"no permission":                           {about(fleet.Forbidden, ""), nil},
		"an app that ends":                        {about(fleet.BadGateway, ""), nil},
		"a step that took too long":               {about(fleet.Timeout, ""), nil},
		"an app that is not ready in time":        {errors.New("not ready within 1m0s"), nil},
		"what nobody foresaw":                     {about(fleet.Internal, ""), nil},
		"a job that was canceled":                 {fmt.Errorf("%w by anna", errCanceled), nil},
		"a job that another took the place of":    {errSuperseded, nil},
		"the end of the spawner":                  {errShutdown, nil},
		"the end of the spawner, wrapped":         {fmt.Errorf("cannot create: %w", errShutdown), nil},
		"a service that was removed meanwhile":    {errRemoved, nil},
		"an order that another took the place of": {errNotWanted, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for n := 1; n <= 20; n++ {
				pause, again := retry(row.err, n)
				if !again {
					break
				}
				got = append(got, pause)
			}
			if !slices.Equal(got, row.pauses) {
				t.Errorf("pauses %v, want %v", got, row.pauses)
			}
		})
	}
}

func seconds(list ...int) []time.Duration {
	pauses := make([]time.Duration, len(list))
	for i, n := range list {
		pauses[i] = time.Duration(n) * time.Second
	}
	return pauses
}

// failing lets the first times calls of a verb about a container fail.
func (w *world) failing(verb, name string, times int, err error) {
	w.flaw(func(v, n string) error { // runs under the engine's lock
		if v != verb || n != name || times == 0 {
			return nil
		}
		times--
		return err
	})
}

func unavailable() error { return fleet.Errorf(fleet.Unavailable, "the engine does not answer") }

// stepOf returns the job's last step of that verb.
func stepOf(t *testing.T, job fleet.Job, verb string) fleet.Step {
	t.Helper()
	for _, step := range slices.Backward(job.Steps) {
		if step.Verb == verb {
			return step
		}
	}
	t.Fatalf("there is no step %s\n%s", verb, describeSteps(job))
	return fleet.Step{}
}

func TestAStepThatFailsForWhatMayPassIsTriedAgainWithGrowingPauses(t *testing.T) {
	for verb, call := range map[string][2]string{
		"create": {"create", "web-0"}, "start": {"start", "web-0"}, "pull": {"pull", "app:2"},
	} {
		t.Run(verb, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.failing(call[0], call[1], 3, unavailable())
				began := time.Now()
				job := w.deploy(w.spec("web", "app:2", 1))
				if job.State != fleet.JobSucceeded {
					t.Fatalf("the deploy %s: %s\n%s", job.State, job.Error, describeSteps(job))
				}
				if took := time.Since(began); took < 7*time.Second || took > 9*time.Second {
					t.Errorf("took %s, with pauses of 1, 2 and 4 s", took)
				}
				if step := stepOf(t, job, verb); step.Attempts != 4 {
					t.Errorf("%+v", step)
				}
				w.settledOn("web", 1, 1)
				if n := w.startsOf("web"); n != 1 {
					t.Errorf("%d starts", n)
				}
				time.Sleep(time.Second)
				events, err := w.engine().Events(w.ctx, fleet.EventFilter{Types: []fleet.EventType{fleet.EventStep}, Limit: 100})
				told := slices.ContainsFunc(events, func(e fleet.Event) bool {
					return strings.HasPrefix(e.Message, verb+" web") && strings.Contains(e.Message, "failed, attempt 3: ") && strings.HasSuffix(e.Message, "the engine does not answer; again in 4s")
				})
				if err != nil || !told {
					t.Errorf("no event of the third attempt: %v, %v", events, err)
				}
			})
		})
	}
}

func TestAStepThatWaitsForItsNextAttemptSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.failing("create", "web-0", -1, unavailable())
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // attempts at 0, 1 and 3 s
		job, err := w.engine().Job(w.ctx, accepted.JobID)
		if err != nil {
			t.Fatal(err)
		}
		step := stepOf(t, job, "create")
		if step.State != fleet.JobRunning || step.Attempts != 3 || !strings.HasPrefix(step.Detail, "attempt 3 failed: ") || !strings.HasSuffix(step.Detail, "does not answer; again in 4s") {
			t.Errorf("%+v", step)
		}
		done := w.wait(accepted)
		if step := stepOf(t, done, "create"); done.State != fleet.JobFailed || step.Attempts != retryAttempts || step.State != fleet.JobFailed {
			t.Errorf("%s: %+v", done.State, step)
		}
		if took := done.EndedAt.Sub(done.StartedAt); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestWhatWillNotPassEndsTheJobAtOnce(t *testing.T) {
	for name, err := range map[string]error{
		"a port that is held":  &fleet.Error{Kind: fleet.Conflict, Field: fieldHostPort, Message: "80 is held by a process of the host"},
		"a command that fails": &fleet.Error{Kind: fleet.Invalid, Field: "command", Message: "executable file not found"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.failing("start", "web-0", -1, err)
				began := time.Now()
				job := w.deploy(w.spec("web", "app:1", 1))
				if job.State != fleet.JobFailed || time.Since(began) > time.Second || stepOf(t, job, "start").Attempts != 0 {
					t.Errorf("%s after %s\n%s", job.State, time.Since(began), describeSteps(job))
				}
			})
		})
	}
}

func TestAJobIsCanceledBetweenTwoAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.failing("start", "web-0.r2", -1, unavailable())
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // in the pause of 8 s
		began := time.Now()
		job, err := w.engine().CancelJob(w.ctx, accepted.JobID, "anna")
		if err != nil || job.State != fleet.JobCanceled || time.Since(began) > time.Second {
			t.Errorf("%s, %v after %s\n%s", job.State, err, time.Since(began), describeSteps(job))
		}
		if !strings.HasPrefix(job.Error, "it was canceled by anna: ") || !strings.HasSuffix(job.Error, "the engine does not answer") {
			t.Errorf("it says %q", job.Error)
		}
		w.flaw(nil)
		w.settledOn("web", 1, 1)
	})
}

func TestAStepThatTakesTooLongEndsItsJobAndSaysWhich(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.PullTimeout = 10 * time.Second }, func(w *world) {
		w.failing("pull", "app:1", -1, unavailable())
		job := w.deploy(w.spec("web", "app:1", 1))
		const want = "pull web took longer than 10s: the engine does not answer"
		if took := job.EndedAt.Sub(job.StartedAt); job.State != fleet.JobFailed || job.Error != want || took != 10*time.Second {
			t.Errorf("%s after %s: %s", job.State, took, job.Error)
		}
	})
}

func TestTheHandbookSaysHowLongAStepMayTakeAndWhatBecomesOfIt(t *testing.T) {
	text, err := os.ReadFile("../../docs/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| step | what it does |")
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 5 {
			rows[strings.TrimPrefix(cells[0], "| ")] = cells
		}
	}
	for verb, rule := range stepRules {
		cells := rows[verb]
		if cells == nil {
			t.Errorf("%s is not in the table", verb)
			continue
		}
		if limit := rule.limit; limit > 0 && cells[2] != limit.String() {
			t.Errorf("%s: at most %s, not %s", verb, limit, cells[2])
		}
		if again := cells[3] == "yes"; again != rule.retried {
			t.Errorf("%s: tried again is %t, not %s", verb, rule.retried, cells[3])
		}
		if left := strings.HasPrefix(cells[4], "left"); left != rule.waits {
			t.Errorf("%s: left at the end is %t, not %s", verb, rule.waits, cells[4])
		}
		delete(rows, verb)
	}
	for verb, cells := range rows {
		if cells[3] == "yes" || strings.HasPrefix(cells[4], "left") {
			t.Errorf("%s is neither tried again nor left", verb)
		}
	}
}
