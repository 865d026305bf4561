package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestACrashedAppIsRestartedAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.crash("web-0", 1)
		w.until("one serves", func() bool { return len(w.endpoints("web")) == 1 })
		began := time.Now()
		w.until("both serve", func() bool { return len(w.endpoints("web")) == 2 })
		if took := time.Since(began); took > 250*time.Millisecond {
			t.Errorf("restarted after %s", took)
		}
		service, err := w.engine().Service("web")
		if err != nil || service.Detail[0].Restarts != 1 || !strings.Contains(service.Detail[0].LastExit, "code 1") {
			t.Errorf("%+v, %v", service.Detail, err)
		}
	})
}

func TestAnAppThatKeepsCrashingIsRestartedWithBackoffAndGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		before := w.startsOf("web")
		w.behave("app:1", behaviour{exits: true, exitAfter: 200 * time.Millisecond, exitCode: 9})
		began := time.Now()
		w.crash("web-0", 9)
		w.untilStatus("web", fleet.StatusFailed)
		if n := w.startsOf("web") - before; n != fleet.DefaultRestartAttempts {
			t.Errorf("%d restarts", n)
		}
		if took := time.Since(began); took < 15*time.Second || took > 20*time.Second {
			t.Errorf("given up after %s", took)
		}
		service, err := w.engine().Service("web")
		if err != nil || !strings.Contains(service.Reason, "code 9") {
			t.Errorf("reason %q, %v", service.Reason, err)
		}
		w.behave("app:1", behaviour{})
		if _, err := w.request("web", 0); err != nil {
			t.Errorf("a request does not revive it: %v", err)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestAnAppThatCannotBeStartedAfterALongLifeIsTriedWithBackoff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		time.Sleep(time.Hour)
		calls := 0
		w.flaw(func(verb, _ string) error {
			if verb == "start" {
				calls++
				return fleet.Errorf(fleet.Internal, "the engine cannot start it")
			}
			return nil
		})
		w.crash("web-0", 1)
		w.untilStatus("web", fleet.StatusFailed)
		if calls != fleet.DefaultRestartAttempts {
			t.Errorf("%d starts were tried", calls)
		}
	})
}

func TestAFailedServiceStaysFailedOverARestartOfTheSpawner(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:1", behaviour{exits: true, exitCode: 9})
		w.crash("web-0", 9)
		w.untilStatus("web", fleet.StatusFailed)
		w.restart()
		if status := w.status("web"); status != fleet.StatusFailed {
			t.Errorf("status %s", status)
		}
		w.behave("app:1", behaviour{})
		if _, err := w.request("web", 0); err != nil {
			t.Errorf("a request does not revive it: %v", err)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestARequestForACrashedAppDoesNotWaitForItsBackoff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:1", behaviour{exits: true, exitAfter: 300 * time.Millisecond, exitCode: 1})
		w.crash("web-0", 1)
		time.Sleep(4 * time.Second) // it waits 4 s now
		w.behave("app:1", behaviour{})
		before := w.startsOf("web")
		began := time.Now()
		for range 20 {
			go w.request("web", 0)
		}
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %s", took)
		}
		if n := w.startsOf("web") - before; n > 1 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestAHungAppIsStoppedAndStartedAgain(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas += 2 {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", replicas))
				for index := range replicas {
					name := fmt.Sprintf("web-%d", index)
					w.hang(name)
					before := w.docker.started[name]
					w.until(name+" is started again", func() bool {
						w.docker.mu.Lock()
						defer w.docker.mu.Unlock()
						return w.docker.started[name] > before
					})
					w.settledOn("web", 1, replicas)
				}
			})
		})
	}
}

func TestAnAppThatHangsWhileAJobRunsIsRestartedAfterIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
		accepted, err := w.engine().Scale(w.ctx, "web", 2, "tester")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.hang("web-0")
		w.wait(accepted)
		w.until("it is started again", func() bool {
			w.docker.mu.Lock()
			defer w.docker.mu.Unlock()
			return w.docker.started["web-0"] == 2
		})
		w.settledOn("web", 1, 2)
	})
}

func TestAnAppThatEndsByItselfIsAsleep(t *testing.T) {
	direct := func(s *fleet.Spec) { s.Direct = true }
	sleeps := func(s *fleet.Spec) { s.Sleep.After = fleet.Duration(time.Hour) }
	onFailure := func(s *fleet.Spec) { s.Restart = fleet.RestartOnFailure }
	never := func(s *fleet.Spec) { s.Restart = fleet.RestartNever }
	for name, test := range map[string]struct {
		change func(*fleet.Spec)
		exit   int
		status fleet.Status
	}{
		"direct, 0":           {direct, 0, fleet.StatusAsleep},
		"direct, 1":           {direct, 1, fleet.StatusAsleep},
		"sleeps when idle, 0": {sleeps, 0, fleet.StatusAsleep},
		"sleeps when idle, 1": {sleeps, 1, fleet.StatusRunning},
		"on-failure, 0":       {onFailure, 0, fleet.StatusAsleep},
		"on-failure, 1":       {onFailure, 1, fleet.StatusRunning},
		"never, 0":            {never, 0, fleet.StatusAsleep},
		"never, 1":            {never, 1, fleet.StatusFailed},
		"always, 0":           {func(*fleet.Spec) {}, 0, fleet.StatusRunning},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				test.change(&spec)
				w.deployed(spec)
				app := "web-0"
				if spec.Direct {
					app = "web"
				}
				w.crash(app, test.exit)
				time.Sleep(5 * time.Second)
				if status := w.status("web"); status != test.status {
					t.Errorf("status %s\n%s", status, w.picture())
				}
				if _, err := w.request("web", 0); err != nil {
					t.Error(err)
				}
				w.settledOn("web", 1, 1)
			})
		})
	}
}

func TestOneOfTwoThatEndsByItselfLeavesTheOther(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Restart = fleet.RestartOnFailure
		w.deployed(spec)
		w.crash("web-1", 0)
		time.Sleep(5 * time.Second)
		if n := len(w.endpoints("web")); n != 1 || w.status("web") != fleet.StatusRunning {
			t.Errorf("%d endpoints, %s", n, w.status("web"))
		}
		w.crash("web-0", 0)
		w.untilStatus("web", fleet.StatusAsleep)
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		w.settledOn("web", 1, 2)
	})
}

func TestAnAppThatIsNeverRestartedAndFailsSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Restart = fleet.RestartNever
		w.deployed(spec)
		w.docker.mu.Lock()
		w.docker.named("web-1").lines = []fleet.LogLine{{Text: "no such table: users"}}
		w.docker.mu.Unlock()
		w.crash("web-1", 3)
		time.Sleep(time.Hour)
		if status := w.status("web"); status != fleet.StatusDegraded || w.startsOfReplica("web-1") != 1 {
			t.Errorf("one of two: %s, %d starts", status, w.startsOfReplica("web-1"))
		}
		failed := w.events("web", fleet.EventFailed)
		if len(failed) != 1 || !strings.Contains(failed[0], "exit code 3") || !strings.Contains(failed[0], "no such table: users") {
			t.Errorf("events %q", failed)
		}
		if why := w.why("web"); !strings.Contains(why, "web-1 exited with code 3") {
			t.Errorf("why: %s", why)
		}
		w.crash("web-0", 0)
		w.untilStatus("web", fleet.StatusFailed)
		detail, err := w.engine().Service("web")
		if err != nil || !strings.Contains(detail.Reason, "web-1 exited with code 3") || !strings.Contains(detail.Detail[1].LastExit, "exited with code 3") {
			t.Errorf("%v, reason %q, %+v", err, detail.Reason, detail.Detail)
		}
		w.restart()
		if status := w.status("web"); status != fleet.StatusFailed {
			t.Errorf("after a restart of the spawner: %s", status)
		}
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		w.settledOn("web", 1, 2)
	})
}

func TestAnAppThatIsNeverRestartedAndIsStoppedByHandIsAsleep(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Restart = fleet.RestartNever
		w.deployed(spec)
		w.stopByHand("web-0")
		w.untilStatus("web", fleet.StatusAsleep)
	})
}

func TestContainersThatAreRemovedByHandComeBack(t *testing.T) {
	for _, names := range [][]string{{"web-1"}, {"web-1.net"}, {"web-1", "web-1.net"}, {"web-0", "web-0.net", "web-1", "web-1.net"}} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v told %v", names, told), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.deployed(w.spec("web", "app:1", 2))
					if !told {
						w.docker.breakStreams()
					}
					for _, name := range names {
						w.removeByHand(name)
					}
					time.Sleep(time.Second)
					w.settledOn("web", 1, 2)
				})
			})
		}
	}
}

func TestAnAppWhoseSandboxWasRestartedIsRestartedToo(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint(told), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 2))
				if !told {
					w.docker.breakStreams()
				}
				w.crash("web-1.net", 1)
				time.Sleep(time.Minute)
				w.settledOn("web", 1, 2)
				for range 4 {
					if _, err := w.request("web", 0); err != nil {
						t.Error(err)
					}
				}
				for _, endpoint := range w.endpoints("web") {
					if conn, ok := w.docker.dial(addressOf(endpoint)); !ok {
						t.Errorf("nothing answers at %v", endpoint)
					} else {
						conn.close()
					}
				}
			})
		})
	}
}

func TestAnAppThatDiedWhileNobodyWasToldIsRestarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.docker.breakStreams()
		w.crash("web-0", 1)
		w.crash("web-1", 1)
		w.settledOn("web", 1, 2)
	})
}

func TestALateNoticeOfOurOwnStartIsNoStartByHand(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		list, err := w.docker.list()
		if err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		web, _ := w.engine().actor("web")
		found := map[string]fleet.Container{}
		for _, c := range list {
			found[c.ID] = c
		}
		web.post(func() { // what was listed before it slept, and told after
			web.compare("local", found, asked)
			for _, r := range web.replicas {
				web.appNotice(r, fleet.Notice{Action: fleet.NoticeStarted, Node: "local", ID: r.look().app.id, Time: asked})
			}
		})
		time.Sleep(10 * time.Second)
		if status := w.status("web"); status != fleet.StatusAsleep {
			t.Errorf("status %s\n%s", status, w.picture())
		}
	})
}
