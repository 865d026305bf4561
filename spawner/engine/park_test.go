package engine

import (
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
)

// begun waits until the job's last step is of that verb and runs.
func (w *world) begun(accepted fleet.Accepted, verb string) {
	w.t.Helper()
	w.until("step "+verb+" is under way", func() bool {
		job, err := w.engine().Job(w.ctx, accepted.JobID)
		if err != nil || len(job.Steps) == 0 {
			return false
		}
		last := job.Steps[len(job.Steps)-1]
		return last.Verb == verb && last.State == fleet.JobRunning
	})
}

// parked parks the engine and returns how long it took until no job was at work.
func (w *world) parked() time.Duration {
	w.t.Helper()
	began := time.Now()
	select {
	case <-w.engine().Park():
	case <-time.After(patience):
		w.t.Fatal("jobs are still at work")
	}
	return time.Since(began)
}

// stored is the job as the store has it.
func (w *world) stored(accepted fleet.Accepted) fleet.Job {
	w.t.Helper()
	job, err := w.store.Jobs().Get(w.ctx, accepted.JobID)
	if err != nil {
		w.t.Fatal(err)
	}
	return job
}

func TestAStepThatChangesContainersComesToItsEndAndNoOtherBegins(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{stopTakes: 5 * time.Second})
		w.deployed(w.spec("web", "app:1", 1))
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		w.begun(accepted, "stop")
		if took := w.parked(); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("parked after %s, and the step takes 5 s", took)
		}
		w.withoutCalls(func() { time.Sleep(time.Minute) })
		job := w.stored(accepted)
		if last := job.Steps[len(job.Steps)-1]; job.State != fleet.JobRunning || last.Verb != "stop" || last.State != fleet.JobSucceeded {
			t.Errorf("%s\n%s", job.State, describeSteps(job))
		}
		w.restart()
		if job := w.wait(accepted); job.State != fleet.JobSucceeded {
			t.Errorf("%s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		w.settledOn("web", 2, 1)
	})
}

func TestAStepThatOnlyWaitsIsLeftAtOnce(t *testing.T) {
	for verb, prepare := range map[string]func(w *world){
		"start":   func(w *world) { w.behave("app:2", behaviour{readyAfter: 30 * time.Second}) },
		"pull":    func(w *world) { w.failing("pull", "app:2", 4, unavailable()) },
		"create":  func(w *world) { w.failing("create", "web-0.r2", 4, unavailable()) }, // between two attempts
		"confirm": func(w *world) { w.edge.set(func() { w.edge.delay = 15 * time.Second }) },
	} {
		t.Run(verb, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 1))
				prepare(w)
				accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 1), "tester", false)
				if err != nil {
					t.Fatal(err)
				}
				w.begun(accepted, verb)
				time.Sleep(10 * time.Second)
				if took := w.parked(); took > 100*time.Millisecond {
					t.Errorf("parked after %s", took)
				}
				w.stop()
				job := w.stored(accepted)
				last := job.Steps[len(job.Steps)-1]
				if job.State != fleet.JobRunning || job.Error != "" || last.Verb != verb || last.State != fleet.JobRunning || last.Detail != "left to the next start of the spawner" {
					t.Errorf("%s\n%s", job.State, describeSteps(job))
				}
				w.flaw(nil)
				w.start()
				if job := w.wait(accepted); job.State != fleet.JobSucceeded {
					t.Errorf("%s: %s\n%s", job.State, job.Error, describeSteps(job))
				}
				w.settledOn("web", 2, 1)
			})
		})
	}
}

func TestAParkedQueueTakesNothingAndWhatWaitsStaysQueued(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers = 1 }, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		var accepted []fleet.Accepted
		for _, name := range []string{"web", "api", "db"} {
			a, err := w.engine().Deploy(w.ctx, w.spec(name, "app:1", 1), "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, a)
		}
		w.begun(accepted[0], "start")
		w.parked()
		before := w.dump()
		for what, err := range map[string]error{
			"a deploy": second(w.engine().Deploy(w.ctx, w.spec("new", "app:1", 1), "tester", false)),
			"a scale":  second(w.engine().Scale(w.ctx, "web", 2, "tester")),
			"a remove": second(w.engine().Remove(w.ctx, "web", "tester")),
			"a wake":   second(w.engine().Wake(w.ctx, "web", "tester")),
		} {
			if fleet.KindOf(err) != fleet.Unavailable {
				t.Errorf("%s: %v", what, err)
			}
		}
		if after := w.dump(); after != before {
			t.Errorf("something was changed:\n%s\n%s", before, after)
		}
		w.stop()
		for _, a := range accepted[1:] {
			if job := w.stored(a); job.State != fleet.JobQueued || !job.StartedAt.IsZero() {
				t.Errorf("%s of %s is %s", job.Kind, job.Service, job.State)
			}
		}
		w.start()
		for _, a := range accepted {
			if job := w.wait(a); job.State != fleet.JobSucceeded {
				t.Errorf("%s: %s", job.State, job.Error)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// dump is all that is stored of services and jobs, and all containers.
func (w *world) dump() string {
	w.t.Helper()
	services, err := w.store.Services().Load(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	jobs, err := w.store.Jobs().List(w.ctx, "", false, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(services, jobs, w.containers())
}

func TestNothingGoesOnOnceTheProcessWasToldToEnd(t *testing.T) {
	for name, ask := range map[string]func(w *world) (fleet.Accepted, error){
		"a deploy": func(w *world) (fleet.Accepted, error) {
			return w.engine().Deploy(w.ctx, w.spec("web", "app:2", 2), "tester", false)
		},
		"a scale up": func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 4, "tester") },
		"a restart":  func(w *world) (fleet.Accepted, error) { return w.engine().Restart(w.ctx, "web", "tester") },
		"a remove":   func(w *world) (fleet.Accepted, error) { return w.engine().Remove(w.ctx, "web", "tester") },
		"a sleep":    func(w *world) (fleet.Accepted, error) { return w.engine().Sleep(w.ctx, "web", "tester") },
		"a first deploy": func(w *world) (fleet.Accepted, error) {
			return w.engine().Deploy(w.ctx, w.spec("api", "app:2", 2), "tester", false)
		},
	} {
		for moment := 100 * time.Millisecond; moment < 3*time.Second; moment += 700 * time.Millisecond {
			t.Run(fmt.Sprint(name, " after ", moment), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.behave("app:2", behaviour{readyAfter: time.Second, stopTakes: time.Second})
					w.behave("app:1", behaviour{readyAfter: time.Second, stopTakes: time.Second})
					w.deployed(w.spec("web", "app:1", 2))
					if _, err := ask(w); err != nil {
						t.Fatal(err)
					}
					time.Sleep(moment)
					w.stop()
					w.withoutCalls(func() { time.Sleep(10 * time.Minute) })
					w.start()
					w.checkSettled(name == "a sleep")
				})
			})
		}
	}
}
