package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestACrashLoopEndsInAnEventThatSaysHowAndNoSecret(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.RestartLimit.Attempts = 2
		spec.Env = map[string]fleet.Secret{"PASSWORD": "hunter2", "KEY": "first line\nsecond-line"}
		w.deployed(spec)
		w.docker.mu.Lock()
		b := w.docker.named("web-0")
		for n := range 30 {
			b.lines = append(b.lines, fleet.LogLine{Text: fmt.Sprintf("line %d", n)})
		}
		b.lines = append(b.lines, fleet.LogLine{Text: "cannot log in with hunter2\x1b[31m and second-line"}, fleet.LogLine{Text: strings.Repeat("ö", 500)})
		w.docker.mu.Unlock()
		w.behave("app:1", behaviour{exits: true, exitAfter: 100 * time.Millisecond, exitCode: 9})
		w.outOfMemory("web-0")
		w.untilStatus("web", fleet.StatusFailed)
		failed := w.events("web", fleet.EventFailed)
		if len(failed) != 1 {
			t.Fatalf("events %q", failed)
		}
		for _, wanted := range []string{"web-0 was restarted 2 times", "exit code 9", "out of memory: false", "next request or deploy", "line 29", "cannot log in with redacted.[31m and redacted", "ö…"} {
			if !strings.Contains(failed[0], wanted) {
				t.Errorf("%q is missing in %q", wanted, failed[0])
			}
		}
		for _, unwanted := range []string{"hunter2", "second-line", "\x1b", "line 20"} {
			if strings.Contains(failed[0], unwanted) {
				t.Errorf("%q stands in %q", unwanted, failed[0])
			}
		}
		if len(failed[0]) > 4096 {
			t.Errorf("it has %d bytes", len(failed[0]))
		}
		if exits := w.events("web", fleet.EventExit); !strings.Contains(strings.Join(exits, "\n"), "web-0 was killed for want of memory (exit code 137)") {
			t.Errorf("exits %q", exits)
		}
	})
}

func TestOneOfTwoThatDoesNotStayUpIsTriedAgainNowAndThen(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.behaveAs("web-1", behaviour{exits: true, exitAfter: 100 * time.Millisecond, exitCode: 9})
		w.crash("web-1", 9)
		time.Sleep(10 * time.Minute)
		if n := w.startsOfReplica("web-1"); n < 12 || n > 20 {
			t.Errorf("%d starts", n)
		}
		if failed := w.events("web", fleet.EventFailed); len(failed) != 1 || !strings.Contains(failed[0], "tried again every 1m0s while others serve") {
			t.Errorf("events %q", failed)
		}
		if status := w.status("web"); status != fleet.StatusDegraded {
			t.Errorf("status %s", status)
		}
		w.behaveAs("web-1", behaviour{})
		w.settledOn("web", 1, 2)
	})
}

func TestACrashLoopOfAllReplicasIsAFailedService(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.behave("app:1", behaviour{exits: true, exitAfter: 100 * time.Millisecond, exitCode: 9})
		for index := range 3 {
			w.crash(fmt.Sprintf("web-%d", index), 9)
		}
		w.untilStatus("web", fleet.StatusFailed)
		starts := w.startsOf("web")
		time.Sleep(time.Hour)
		if n := w.startsOf("web"); n != starts {
			t.Errorf("%d starts of a service that failed", n-starts)
		}
	})
}

func TestAnAppThatSomebodyElseStoppedHasNotGoneToSleep(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Sleep.After = fleet.Duration(time.Hour)
		w.deployed(spec)
		w.stopByHand("web-0")
		time.Sleep(10 * time.Second)
		if status := w.status("web"); status != fleet.StatusRunning {
			t.Errorf("status %s", status)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestAnEngineThatIsAwayForAMinuteChangesNoRoute(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.asleep(w.spec("api", "app:2", 1))
		w.watchEdge("web", 2)
		stop := w.traffic("web", 20*time.Millisecond, 200*time.Millisecond)
		w.withoutCalls(func() {
			w.away(time.Minute, false)
			time.Sleep(time.Minute)
		})
		stop()
		w.settledOn("web", 1, 2)
	})
}

func TestWhatWasAwakeIsStartedWhenTheEngineIsBack(t *testing.T) {
	for name, change := range map[string]func(*fleet.Spec){
		"always":      func(*fleet.Spec) {},
		"sleeps":      func(s *fleet.Spec) { s.Sleep.After = fleet.Duration(time.Hour) },
		"on failure":  func(s *fleet.Spec) { s.Restart = fleet.RestartOnFailure },
		"few retries": func(s *fleet.Spec) { s.RestartLimit.Attempts = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				change(&spec)
				w.deployed(spec)
				w.asleep(w.spec("api", "app:2", 1))
				for range 2 {
					w.away(time.Minute, true)
					began := time.Now()
					w.settledOn("web", 1, 2)
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("back after %s", took)
					}
				}
				if status := w.status("api"); status != fleet.StatusAsleep {
					t.Errorf("api is %s", status)
				}
			})
		})
	}
}

func TestAnAppThatCrashesWhileTheEngineGoesAwayIsStartedWhenItIsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.flaw(func(verb, _ string) error {
			if verb == "start" {
				return fleet.Errorf(fleet.Unavailable, "the engine does not answer")
			}
			return nil
		})
		w.crash("web-0", 1)
		w.crash("web-1", 1)
		time.Sleep(10 * time.Minute)
		if failed := w.events("web", fleet.EventFailed); len(failed) != 0 {
			t.Errorf("given up: %q", failed)
		}
		w.flaw(nil)
		w.settledOn("web", 1, 2)
	})
}
