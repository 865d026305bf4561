package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestJobsOfAServiceRunOneAfterAnotherAndThoseOfOthersBeside(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		var accepted []fleet.Accepted
		began := time.Now()
		for _, name := range []string{"web", "api", "db"} {
			a, err := w.engine().Deploy(w.ctx, w.spec(name, "app:1", 1), "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, a)
		}
		scale, err := w.engine().Scale(w.ctx, "web", 2, "tester")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range accepted {
			if job := w.wait(a); job.State != fleet.JobSucceeded || job.EndedAt.Sub(began) > 11*time.Second {
				t.Errorf("%s after %s", job.State, job.EndedAt.Sub(began))
			}
		}
		first := w.wait(accepted[0])
		second := w.wait(scale)
		if second.StartedAt.Before(first.EndedAt) {
			t.Errorf("the second began at %s, the first ended at %s", second.StartedAt, first.EndedAt)
		}
		w.settledOn("web", 1, 2)
	})
}

func TestTheQueueTakesNoMoreThanItsSize(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers, w.config.QueueSize = 1, 2 }, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		for n := range 3 {
			if _, err := w.engine().Deploy(w.ctx, w.spec(fmt.Sprintf("web%d", n), "app:1", 1), "tester", false); err != nil {
				t.Fatalf("job %d: %v", n, err)
			}
			time.Sleep(time.Second)
		}
		_, err := w.engine().Deploy(w.ctx, w.spec("web3", "app:1", 1), "tester", false)
		var busy *fleet.Error
		if !errors.As(err, &busy) || busy.Kind != fleet.Busy || busy.RetryAfter == 0 {
			t.Fatalf("got %v", err)
		}
		if _, err := w.engine().Service("web3"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("something of it was stored: %v", err)
		}
		w.untilStatus("web0", fleet.StatusRunning)
		w.succeeded(w.engine().Deploy(w.ctx, w.spec("web3", "app:1", 1), "tester", false))
	})
}

func TestAWakeNeverWaitsForRollouts(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers = 1 }, func(w *world) {
		w.asleep(w.spec("web", "app:1", 1))
		w.behave("app:2", behaviour{readyAfter: 30 * time.Second})
		if _, err := w.engine().Deploy(w.ctx, w.spec("api", "app:2", 1), "tester", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		w.succeeded(w.engine().Wake(w.ctx, "web", "tester"))
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestADeploySupersedesTheDeployThatWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		var accepted []fleet.Accepted
		for n := range 3 {
			a, err := w.engine().Deploy(w.ctx, w.spec("web", fmt.Sprintf("app:%d", n+1), 1), "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, a)
			time.Sleep(time.Second)
		}
		began := time.Now()
		if job := w.wait(accepted[1]); job.State != fleet.JobCanceled || !strings.Contains(job.Error, "newer deploy") {
			t.Errorf("the second %s: %s", job.State, job.Error)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it ended after %s", took)
		}
		for _, n := range []int{0, 2} {
			if job := w.wait(accepted[n]); job.State != fleet.JobSucceeded {
				t.Errorf("job %d %s: %s", n, job.State, job.Error)
			}
		}
		w.settledOn("web", 3, 1)
		revisions, err := w.engine().Revisions(w.ctx, "web")
		if err != nil || revisions[1].Outcome != fleet.OutcomeCanceled {
			t.Errorf("%+v, %v", revisions, err)
		}
	})
}

func TestAWaitingJobThatIsCanceledEndsAtOnceAndLeavesNoClaim(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		first, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		w.begun(first, "start") // else the second takes its place
		spec := w.spec("web", "app:2", 1)
		spec.Route = &fleet.Route{Hosts: []string{"wanted.example.com"}}
		second, err := w.engine().Deploy(w.ctx, spec, "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		other := w.spec("api", "app:3", 1)
		other.Route = spec.Route
		if _, err := w.engine().Deploy(w.ctx, other, "tester", false); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("the host is claimed: %v", err)
		}
		began := time.Now()
		if job, err := w.engine().CancelJob(w.ctx, second.JobID, "tester"); err != nil || job.State != fleet.JobCanceled || time.Since(began) > time.Second {
			t.Errorf("%+v, %v after %s", job, err, time.Since(began))
		}
		if job := w.wait(first); job.State != fleet.JobSucceeded {
			t.Errorf("the first %s", job.State)
		}
		w.succeeded(w.engine().Deploy(w.ctx, other, "tester", false))
	})
}

func TestAFirstDeployThatIsCanceledWhileItWaitsIsAFailedService(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers = 1 }, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 1), "tester", false); err != nil {
			t.Fatal(err)
		}
		second, err := w.engine().Deploy(w.ctx, w.spec("api", "app:1", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		go func() {
			_, err := w.request("api", 0)
			answered <- err
		}()
		time.Sleep(time.Second)
		if _, err := w.engine().CancelJob(w.ctx, second.JobID, "tester"); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; fleet.KindOf(err) != fleet.Unavailable {
			t.Errorf("got %v", err)
		}
		if status := w.status("api"); status != fleet.StatusFailed {
			t.Errorf("status %s", status)
		}
		w.succeeded(w.engine().Remove(w.ctx, "api", "tester"))
	})
}

func TestADeployOfWhatIsInServiceIsNotUnchangedWhileAnotherWaits(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers = 1 }, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:2", behaviour{readyAfter: 10 * time.Second})
		if _, err := w.engine().Deploy(w.ctx, w.spec("api", "app:2", 1), "tester", false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:3", 1), "tester", false); err != nil {
			t.Fatal(err)
		}
		w.deployed(w.spec("web", "app:1", 1))
		if spec, err := w.engine().Spec(w.ctx, "web"); err != nil || spec.Image != "app:1" {
			t.Errorf("%s, %v", spec.Image, err)
		}
	})
}

func TestWaitJobReturnsTheJobAsItIsWhenItsCallerLeaves(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		job, err := w.engine().WaitJob(ctx, accepted.JobID)
		if !errors.Is(err, context.DeadlineExceeded) || job.State != fleet.JobRunning || len(job.Steps) < 3 {
			t.Errorf("%+v, %v", job, err)
		}
		done := w.wait(accepted)
		for _, step := range done.Steps {
			if step.State != fleet.JobSucceeded || step.EndedAt.Before(step.StartedAt) {
				t.Errorf("%+v", step)
			}
		}
		if _, err := w.engine().Job(w.ctx, "nothing"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("an unknown job: %v", err)
		}
		if jobs, err := w.engine().Jobs(w.ctx, "web", 10); err != nil || len(jobs) != 1 || jobs[0].ID != accepted.JobID {
			t.Errorf("%+v, %v", jobs, err)
		}
	})
}

func TestScaleUpAndDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.watchEdge("web", 1)
		stop := w.traffic("web", 20*time.Millisecond, 200*time.Millisecond)
		for _, n := range []int{4, 2, 2, 5, 1} {
			w.succeeded(w.engine().Scale(w.ctx, "web", n, "tester"))
			w.settledOn("web", 1, n)
		}
		stop()
		if _, err := w.engine().Scale(w.ctx, "web", -1, "tester"); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("-1: %v", err)
		}
		if _, err := w.engine().Scale(w.ctx, "nobody", 1, "tester"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("unknown: %v", err)
		}
		w.restart()
		w.settledOn("web", 1, 1)
	})
}

func TestAScaleUpThatFailsLeavesAsManyAsBefore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.behaveAs("web-3", behaviour{never: true})
		if job := w.done(w.engine().Scale(w.ctx, "web", 5, "tester")); job.State != fleet.JobFailed {
			t.Errorf("the scale %s", job.State)
		}
		w.settledOn("web", 1, 2)
	})
}

func TestARestartReplacesEveryReplicaAndServesAllTheTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.watchEdge("web", 2)
		stop := w.traffic("web", 20*time.Millisecond, 200*time.Millisecond)
		w.succeeded(w.engine().Restart(w.ctx, "web", "tester"))
		stop()
		w.settledOn("web", 1, 2)
		if n := w.startsOf("web"); n != 4 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestARemoveLeavesNothing(t *testing.T) {
	for name, before := range map[string]func(w *world){
		"while it serves": func(*world) {},
		"while it sleeps": func(w *world) { w.succeeded(w.engine().Sleep(w.ctx, "web", "tester")) },
		"during a wake": func(w *world) {
			w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
			w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
			go func() {
				if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.NotFound {
					w.t.Errorf("the waiting request: %v", err)
				}
			}()
			time.Sleep(time.Second)
		},
		"at the end of a wake": func(w *world) {
			w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
			go w.request("web", 0)
			time.Sleep(fakeStart - time.Millisecond)
		},
		"during a deploy": func(w *world) {
			w.behave("app:2", behaviour{readyAfter: 10 * time.Second})
			if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 3), "tester", false); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
		},
		"with jobs waiting": func(w *world) {
			for n := range 3 {
				if _, err := w.engine().Scale(w.ctx, "web", n+2, "tester"); err != nil {
					w.t.Fatal(err)
				}
			}
		},
		"while it falls asleep": func(w *world) {
			w.edge.set(func() { w.edge.delay = 3 * time.Second })
			if _, err := w.engine().Sleep(w.ctx, "web", "tester"); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(2900 * time.Millisecond)
		},
		"while it stops": func(w *world) {
			w.behave("app:1", behaviour{stopTakes: 5 * time.Second})
			if _, err := w.engine().Sleep(w.ctx, "web", "tester"); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(time.Second)
		},
		"while it crashes": func(w *world) {
			w.behave("app:1", behaviour{exits: true, exitAfter: 300 * time.Millisecond, exitCode: 1})
			w.crash("web-0", 1)
			w.crash("web-1", 1)
			time.Sleep(3 * time.Second)
		},
		"after it failed": func(w *world) {
			w.behave("app:1", behaviour{exits: true, exitCode: 1})
			w.crash("web-0", 1)
			w.crash("web-1", 1)
			w.untilStatus("web", fleet.StatusFailed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 2))
				before(w)
				accepted, err := w.engine().Remove(w.ctx, "web", "tester")
				if err != nil {
					t.Fatal(err)
				}
				if job := w.wait(accepted); job.State != fleet.JobSucceeded {
					t.Fatalf("the remove %s: %s\n%s", job.State, job.Error, describeSteps(job))
				}
				time.Sleep(time.Minute)
				if left := w.containers(); len(left) != 0 {
					t.Errorf("left over: %v", left)
				}
				if _, known := w.engine().Snapshot().Find("web"); known {
					t.Error("it is still published")
				}
				if leases, err := w.store.Addresses().Holders(w.ctx); err != nil || len(leases) != 0 {
					t.Errorf("addresses %v, %v", leases, err)
				}
				if stored, err := w.store.Services().Load(w.ctx); err != nil || len(stored) != 0 {
					t.Errorf("stored %v, %v", stored, err)
				}
				unfinished, err := w.store.Jobs().List(w.ctx, "", true, 0)
				if err != nil || len(unfinished) != 0 {
					t.Errorf("unfinished %v, %v", unfinished, err)
				}
				w.behave("app:1", behaviour{})
				w.edge.set(func() { w.edge.delay = time.Millisecond })
				w.deployed(w.spec("web", "app:1", 1)) // the name is free again
				w.settledOn("web", 1, 1)
			})
		})
	}
}

func TestARemoveThatFailsCanBeAskedForAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.flaw(func(verb, name string) error {
			if verb == "remove" && name == "web-1" {
				return fleet.Errorf(fleet.Unavailable, "the engine does not answer")
			}
			return nil
		})
		if job := w.done(w.engine().Remove(w.ctx, "web", "tester")); job.State != fleet.JobFailed {
			t.Errorf("the remove %s", job.State)
		}
		if status := w.status("web"); status != fleet.StatusRemoving {
			t.Errorf("status %s", status)
		}
		if _, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 2), "tester", false); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("a deploy: %v", err)
		}
		w.flaw(nil)
		w.succeeded(w.engine().Remove(w.ctx, "web", "tester"))
		if left := w.containers(); len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
	})
}

func TestAnOwnNetworkGoesWithTheLastWhoUsesIt(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Networks = []string{"back"}
		spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		w.deployed(spec)
		own := "z-" + fakeFleet + "-back"
		there := func() bool {
			w.docker.mu.Lock()
			defer w.docker.mu.Unlock()
			_, ok := w.docker.networks[own]
			return ok
		}
		if !there() {
			t.Fatal("it was not made")
		}
		spec.Image = "app:2" // in place, for the one with the host port
		w.deployed(spec)
		if !there() {
			t.Fatal("it went with the old replicas")
		}
		spec.Networks = nil
		w.deployed(spec)
		if there() {
			t.Error("it is still there")
		}
		w.settledOn("web", 3, 2)
	})
}
