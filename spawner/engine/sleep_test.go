package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestASleepTakesTheRouteOffAndIsConfirmedBeforeItStopsAnything(t *testing.T) {
	for _, mode := range []fleet.SleepMode{fleet.SleepPause, fleet.SleepStop, fleet.SleepDeep} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				spec.Sleep.Mode = mode
				w.deployed(spec)
				w.edge.set(func() { w.edge.delay = 2 * time.Second })
				w.flaw(func(verb, name string) error {
					if verb == "stop" || verb == "pause" {
						w.edge.mu.Lock()
						defer w.edge.mu.Unlock()
						if routed, _ := w.edge.applied.Find("web"); len(routed.Endpoints) > 0 {
							t.Errorf("%s of %s while the edge leads to %v", verb, name, routed.Endpoints)
						}
					}
					return nil
				})
				w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
				if len(w.endpoints("web")) != 0 {
					t.Error("endpoints are published")
				}
			})
		})
	}
}

func TestConnectionsThatCannotBeListedAtOnceAreListedAgain(t *testing.T) {
	for what, do := range map[string]func(w *world) (fleet.Accepted, error){
		"a sleep":   func(w *world) (fleet.Accepted, error) { return w.engine().Sleep(w.ctx, "web", "tester") },
		"a restart": func(w *world) (fleet.Accepted, error) { return w.engine().Restart(w.ctx, "web", "tester") },
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 1))
				answered := make(chan error, 1)
				go func() {
					_, err := w.request("web", 8*time.Second)
					answered <- err
				}()
				time.Sleep(time.Second)
				w.failing("exec", "web-0.net", 3, unavailable())
				w.succeeded(do(w))
				if err := <-answered; err != nil {
					t.Errorf("the request that was under way: %v", err)
				}
			})
		})
	}
}

func TestAFrozenEngineHoldsUpNobodyWhoLooksAtConnections(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		var names []string
		for i := range 12 {
			name := fmt.Sprintf("web%d", i)
			w.deployed(w.spec(name, "app:1", 2))
			names = append(names, name)
		}
		w.on("b").silence(false)
		began := time.Now()
		for _, name := range names {
			if _, err := w.engine().Sleep(w.ctx, name, "tester"); err != nil {
				t.Fatal(err)
			}
		}
		w.until("no sleep is under way", func() bool {
			return !slices.ContainsFunc(names, func(name string) bool { return w.status(name) == fleet.StatusSleeping })
		})
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the sleeps had ended after %s", took)
		}
	})
}

func TestARequestWhileItDrainsCallsTheSleepOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		answered := make(chan error, 1)
		go func() { // this one keeps it draining
			_, err := w.request("web", 5*time.Second)
			answered <- err
		}()
		time.Sleep(time.Second)
		accepted, err := w.engine().Sleep(w.ctx, "web", "tester")
		if err != nil {
			t.Fatal(err)
		}
		w.until("it is off the edge", func() bool { _, ok := w.edge.endpoint("web"); return !ok })
		if status := w.status("web"); status != fleet.StatusSleeping {
			t.Errorf("status %s", status)
		}
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		if job := w.wait(accepted); job.State != fleet.JobFailed || !strings.Contains(job.Error, "called back") {
			t.Errorf("the sleep %s: %s", job.State, job.Error)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		w.settledOn("web", 1, 2)
		if n := w.startsOf("web"); n != 2 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestASleepThatIsCalledOffAndBegunAgainDrainsAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.edge.set(func() { w.edge.delay = time.Second })
		web, _ := w.engine().actor("web")
		err := web.call(w.ctx, func() { // all in one message, so that no outcome of the first can come between
			for range 2 {
				if err := web.fallAsleep(fleet.SleepStop, "a test"); err != nil {
					t.Error(err)
				}
				if web.power != powerDraining {
					t.Errorf("power %s", web.power)
				}
				web.transition(eventRequest)
			}
			if err := web.fallAsleep(fleet.SleepStop, "a test"); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		w.flaw(func(verb, name string) error {
			if _, on := w.edge.endpoint("web"); verb == "stop" && on {
				t.Error("stopped before the edge confirmed")
			}
			return nil
		})
		w.untilStatus("web", fleet.StatusAsleep)
	})
}

func TestARequestWhileItStopsWakesItAfterwards(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{stopTakes: 5 * time.Second})
		w.deployed(w.spec("web", "app:1", 2))
		accepted, err := w.engine().Sleep(w.ctx, "web", "tester")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		began := time.Now()
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("took %s", took)
		}
		w.wait(accepted)
		w.settledOn("web", 1, 2)
	})
}

func TestAnAppThatEndsByFaultWhileItDrainsIsRevivedByTheRequestThatCallsTheSleepOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.edge.set(func() { w.edge.delay = 5 * time.Second })
		if _, err := w.engine().Sleep(w.ctx, "web", "tester"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.crash("web-0", 1)
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %s", took)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestAnIdleServiceSleepsByItself(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Sleep.After = fleet.Duration(10 * time.Minute / 2)
		w.deployed(spec)
		if _, err := w.request("web", 0); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.untilStatus("web", fleet.StatusAsleep)
		if idle := time.Since(began); idle < spec.Sleep.After.Std() || idle > spec.Sleep.After.Std()+time.Minute {
			t.Errorf("slept after %s", idle)
		}
		why, err := w.engine().Why("web")
		if err != nil || !strings.Contains(why.LastSleep, "idle for 5m") {
			t.Errorf("%+v, %v", why, err)
		}
	})
}

func TestUseAndDoubtKeepAServiceAwake(t *testing.T) {
	for name, use := range map[string]func(w *world) (end func()){
		"a request that is held": func(w *world) func() { return w.engine().Hold("web") },
		"an open connection": func(w *world) func() {
			conn, ok := w.docker.dial(addressOf(w.endpoints("web")[0]))
			if !ok {
				w.t.Fatal("refused")
			}
			return func() { conn.close() }
		},
		"counters that cannot be read": func(w *world) func() {
			w.edge.set(func() { w.edge.unknown = true })
			return func() { w.edge.set(func() { w.edge.unknown = false }) }
		},
		"connections that cannot be listed": func(w *world) func() {
			w.flaw(func(verb, _ string) error {
				if verb == "exec" {
					return errors.New("a flaw")
				}
				return nil
			})
			return func() { w.flaw(nil) }
		},
		"requests that edges count": func(w *world) func() {
			stop := make(chan struct{})
			go func() {
				for {
					select {
					case <-time.After(20 * time.Second):
						w.edge.endpoint("web")
					case <-stop:
						return
					}
				}
			}()
			return func() { close(stop) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				spec.Sleep.After = fleet.Duration(time.Minute)
				w.deployed(spec)
				end := use(w)
				for range 60 {
					time.Sleep(10 * time.Second)
					if status := w.status("web"); status == fleet.StatusAsleep {
						t.Fatalf("status %s", status)
					}
				}
				end()
				w.untilStatus("web", fleet.StatusAsleep)
			})
		})
	}
}

func TestAServiceIsNotPutToSleepBeforeTheEdgesAreBack(t *testing.T) {
	back := make(chan struct{})
	synctestWorld(t, func(w *world) {
		back = make(chan struct{})
		w.config.Settled = func(ctx context.Context) error {
			select {
			case <-back:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Sleep.After = fleet.Duration(time.Minute)
		w.deployed(spec)
		time.Sleep(5 * time.Minute)
		if status := w.status("web"); status != fleet.StatusRunning {
			t.Errorf("status %s", status)
		}
		close(back)
		w.untilStatus("web", fleet.StatusAsleep)
	})
}

func TestADeployOfASleepingServiceEndsAsleep(t *testing.T) {
	for _, mode := range []fleet.SleepMode{fleet.SleepPause, fleet.SleepStop, fleet.SleepDeep} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				spec.Sleep.Mode = mode
				w.asleep(spec)
				spec.Image = "app:2"
				w.deployed(spec)
				w.until("it sleeps again", func() bool { return len(w.revisions("web")) == 0 })
				if n := w.docker.started["web-0.r2"] + w.docker.started["web-1.r2"]; n != 2 {
					t.Errorf("%d of the new ones were tried: %v", n, w.docker.started)
				}
				if len(w.endpoints("web")) != 0 {
					t.Error("published")
				}
				if _, err := w.request("web", 0); err != nil {
					t.Error(err)
				}
				w.settledOn("web", 2, 2)
			})
		})
	}
}

func TestARequestDuringADeployOfASleepingServiceIsAnsweredByTheRevisionInService(t *testing.T) {
	for name, bad := range map[string]bool{"succeeds": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				w.asleep(spec)
				w.behave("app:2", behaviour{readyAfter: 20 * time.Second})
				if bad {
					w.behaveAs("web-1.r2", behaviour{never: true})
				}
				spec.Image = "app:2"
				accepted, err := w.engine().Deploy(w.ctx, spec, "tester", false)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if by, err := w.request("web", 0); err != nil || by != "web-0" {
					t.Errorf("answered by %s, %v", by, err)
				}
				stop := w.traffic("web", 100*time.Millisecond, 100*time.Millisecond)
				job := w.wait(accepted)
				time.Sleep(10 * time.Second)
				stop()
				if bad != (job.State == fleet.JobFailed) {
					t.Errorf("the deploy %s: %s", job.State, job.Error)
				}
				revision := 2
				if bad {
					revision = 1
				}
				w.settledOn("web", revision, 2)
			})
		})
	}
}

func TestARequestRightAfterADeployOfASleepingServiceIsServed(t *testing.T) {
	for after := range 12 {
		t.Run(time.Duration(after).String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				w.behave("app:2", behaviour{stopTakes: 20 * time.Millisecond})
				w.asleep(spec)
				spec.Image = "app:2"
				w.deployed(spec)
				time.Sleep(time.Duration(after) * 3 * time.Millisecond)
				stop := w.traffic("web", 10*time.Millisecond, 50*time.Millisecond)
				time.Sleep(time.Second)
				stop()
				w.settledOn("web", 2, 2)
			})
		})
	}
}

func TestADeployWaitsForASleepUnderWay(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		w.behave("app:1", behaviour{stopTakes: 5 * time.Second})
		w.deployed(spec)
		sleep, err := w.engine().Sleep(w.ctx, "web", "tester")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		spec.Image = "app:2"
		w.deployed(spec)
		if job := w.wait(sleep); job.State != fleet.JobSucceeded {
			t.Errorf("the sleep %s: %s", job.State, job.Error)
		}
		w.until("it sleeps", func() bool { return len(w.revisions("web")) == 0 && w.status("web") == fleet.StatusAsleep })
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		w.settledOn("web", 2, 2)
	})
}

func TestSleepIsRefusedWhileAJobRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:2", behaviour{readyAfter: 10 * time.Second})
		deploy, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := w.engine().Sleep(w.ctx, "web", "tester"); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("got %v", err)
		}
		w.wait(deploy)
	})
}

func TestAnAppThatDoesNotStopIsSaidAndTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.flaw(func(verb, _ string) error {
			if verb == "stop" {
				return fleet.Errorf(fleet.Unavailable, "the engine does not answer")
			}
			return nil
		})
		w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		w.flaw(nil)
		w.until("it is down", func() bool { return len(w.revisions("web")) == 0 })
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		w.settledOn("web", 1, 1)
	})
}
