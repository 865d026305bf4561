package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
)

// asleep deploys a service and puts it to sleep.
func (w *world) asleep(spec fleet.Spec) {
	w.t.Helper()
	w.deployed(spec)
	w.succeeded(w.engine().Sleep(w.ctx, spec.Name, "tester"))
	if running := w.revisions(spec.Name); len(running) != 0 {
		w.t.Fatalf("asleep, and %v run", running)
	}
}

// startsOf counts the apps of a service that really began.
func (w *world) startsOf(service string) int {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	n := 0
	for name, count := range w.docker.started {
		if strings.HasPrefix(name, service+"-") {
			n += count
		}
	}
	return n
}

func TestAThousandRequestsShareOneWake(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 2 * time.Second})
		w.asleep(w.spec("web", "app:1", 1))
		before := w.startsOf("web")
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				if _, err := w.request("web", 0); err != nil {
					t.Errorf("not answered: %v", err)
				}
			})
		}
		group.Wait()
		if n := w.startsOf("web") - before; n != 1 {
			t.Errorf("%d starts", n)
		}
		time.Sleep(time.Second) // events are stored off the path of requests
		wakes, err := w.engine().Events(w.ctx, fleet.EventFilter{Service: "web", Types: []fleet.EventType{fleet.EventWake}})
		if err != nil || len(wakes) != 2 || !strings.HasPrefix(wakes[0].Message, "Waking web: ") || !strings.HasPrefix(wakes[1].Message, "web is awake after 2") {
			t.Errorf("recorded %+v, %v", wakes, err)
		}
		sleeps, err := w.engine().Events(w.ctx, fleet.EventFilter{Service: "web", Types: []fleet.EventType{fleet.EventSleep}})
		if err != nil || !slices.ContainsFunc(sleeps, func(e fleet.Event) bool { return e.Message == "web is asleep" }) {
			t.Errorf("recorded %+v, %v", sleeps, err)
		}
	})
}

func TestAWakeBringsEveryReplicaUpTheFirstOneFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("web", "app:1", 3))
		if _, err := w.request("web", 0); err != nil {
			t.Fatal(err)
		}
		if n := len(w.endpoints("web")); n != 1 {
			t.Errorf("the first request waited for %d replicas", n)
		}
		w.settledOn("web", 1, 3)
	})
}

func TestACallerWhoLeavesIsLetGoAndTheWakeGoesOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 20 * time.Second})
		w.asleep(w.spec("web", "app:1", 1))
		ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := w.engine().WakeForRequest(ctx, "web", "a request"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("let go after %s", took)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestWhatIsNotReadyInTimeIsATimeoutThatSaysWhatWasWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Wake.MaxWait = fleet.Duration(5 * time.Second)
		w.asleep(spec)
		w.behave("app:1", behaviour{never: true})
		began := time.Now()
		_, err := w.request("web", 0)
		var e *fleet.Error
		if !errors.As(err, &e) || e.Kind != fleet.Timeout || e.RetryAfter == 0 || !strings.Contains(e.Message, "tcp check") {
			t.Errorf("got %+v", err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("after %s", took)
		}
	})
}

func TestAnAppThatEndsAtOnceIsABadGateway(t *testing.T) {
	for name, bad := range map[string]behaviour{
		"at once":       {readyAfter: time.Second, exits: true, exitCode: 3},
		"after a while": {readyAfter: time.Minute, exits: true, exitAfter: 2 * time.Second, exitCode: 3},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.asleep(w.spec("web", "app:1", 2))
				w.behave("app:1", bad)
				_, err := w.request("web", 0)
				if fleet.KindOf(err) != fleet.BadGateway || !strings.Contains(err.Error(), "code 3") {
					t.Errorf("got %v", err)
				}
				if status := w.status("web"); status != fleet.StatusFailed {
					t.Errorf("status %s", status)
				}
				w.behave("app:1", behaviour{})
				if _, err := w.request("web", 0); err != nil {
					t.Errorf("the next request: %v", err)
				}
				w.settledOn("web", 1, 2)
			})
		})
	}
}

func TestWhatTheEngineCannotDoIsUnavailableToAClient(t *testing.T) {
	for name, answer := range map[string]error{
		"engine down":     fleet.Errorf(fleet.Unavailable, "the engine does not answer"),
		"image gone":      &fleet.Error{Kind: fleet.NotFound, Field: "image", Message: "no such image"},
		"port taken":      &fleet.Error{Kind: fleet.Conflict, Field: "host_port", Message: "80 is held by other"},
		"no such command": &fleet.Error{Kind: fleet.Invalid, Field: "command", Message: "no such file"},
		"something else":  errors.New("cannot be started now"), // whose words are for the log
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.asleep(w.spec("web", "app:1", 1))
				w.behave("app:1", behaviour{startError: answer})
				_, err := w.request("web", 0)
				if fleet.KindOf(err) != fleet.Unavailable || !strings.HasSuffix(err.Error(), answer.Error()) {
					t.Errorf("got %s: %v", fleet.KindOf(err), err)
				}
			})
		})
	}
}

func TestAWakeTriesTheOtherReplicasWhenTheFirstFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("web", "app:1", 3))
		w.behaveAs("web-0", behaviour{startError: fleet.Errorf(fleet.Unavailable, "a flaw")})
		for range 3 {
			if name, err := w.request("web", 0); err != nil || name == "web-0" {
				t.Fatalf("%s, %v", name, err)
			}
			w.until("two serve", func() bool { return len(w.endpoints("web")) == 2 })
			w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		}
		w.behaveAs("web-0", behaviour{})
		if _, err := w.request("web", 0); err != nil {
			t.Fatal(err)
		}
		w.settledOn("web", 1, 3)
	})
}

func TestASecondWakeAfterAFailedOneTriesEveryReplica(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("web", "app:1", 2))
		flaw := behaviour{startError: fleet.Errorf(fleet.Unavailable, "a flaw")}
		w.behave("app:1", flaw)
		if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.Unavailable {
			t.Errorf("got %v", err)
		}
		w.behave("app:1", behaviour{})
		w.behaveAs("web-0", flaw)
		if name, err := w.request("web", 0); err != nil || name != "web-1" {
			t.Errorf("%s, %v", name, err)
		}
	})
}

func TestContainersThatWereRemovedByHandAreMadeAgainAtAWake(t *testing.T) {
	for _, missing := range [][]string{{"web-0"}, {"web-0.net"}, {"web-0", "web-0.net"}} {
		for _, mode := range []fleet.SleepMode{fleet.SleepStop, fleet.SleepDeep, fleet.SleepPause} {
			t.Run(fmt.Sprint(mode, missing), func(t *testing.T) {
				inWorld(t, func(w *world) {
					spec := w.spec("web", "app:1", 1)
					spec.Sleep.Mode = mode
					w.asleep(spec)
					for _, name := range missing {
						w.removeByHand(name)
					}
					if _, err := w.request("web", 0); err != nil {
						t.Error(err)
					}
					w.settledOn("web", 1, 1)
				})
			})
		}
	}
}

func TestEachDepthOfSleepWakesAgain(t *testing.T) {
	for mode, status := range map[fleet.SleepMode]fleet.Status{
		fleet.SleepPause: fleet.StatusDozing, fleet.SleepStop: fleet.StatusAsleep, fleet.SleepDeep: fleet.StatusAsleep,
	} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				spec.Sleep.Mode = mode
				w.asleep(spec)
				if got := w.status("web"); got != status {
					t.Errorf("status %s", got)
				}
				if _, err := w.request("web", 0); err != nil {
					t.Error(err)
				}
				w.settledOn("web", 1, 2)
				w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
				w.restart()
				if got := w.status("web"); got != status {
					t.Errorf("after a restart: status %s\n%s", got, w.picture())
				}
				w.succeeded(w.engine().Wake(w.ctx, "web", "tester"))
				w.settledOn("web", 1, 2)
			})
		})
	}
}

func TestARequestDuringAFirstDeployWaitsForIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 5 * time.Second})
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 1), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		w.wait(accepted)
	})
}

func TestARequestWaitsForAFirstDeployThatWaitsForItsTurn(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.Workers = 1 }, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 5 * time.Second})
		var jobs []fleet.Accepted
		for _, name := range []string{"web", "api"} {
			accepted, err := w.engine().Deploy(w.ctx, w.spec(name, "app:1", 1), "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, accepted)
		}
		time.Sleep(time.Second)
		if _, err := w.request("api", 0); err != nil {
			t.Error(err)
		}
		w.wait(jobs[0])
		w.wait(jobs[1])
	})
}

func TestUnknownAndRemovedServicesAreNotFound(t *testing.T) {
	inWorld(t, func(w *world) {
		if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("unknown: %v", err)
		}
		w.deployed(w.spec("web", "app:1", 1))
		w.succeeded(w.engine().Remove(w.ctx, "web", "tester"))
		time.Sleep(time.Second)
		if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("removed: %v", err)
		}
	})
}

func TestWhatAServiceNeedsIsWokenFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		db := w.spec("db", "app:2", 1)
		w.behave("app:2", behaviour{readyAfter: 3 * time.Second})
		w.asleep(db)
		web := w.spec("web", "app:1", 1)
		web.Wake.Needs = []string{"db", "nobody"}
		w.asleep(web)
		w.flaw(func(verb, name string) error {
			if verb == "start" && name == "web-0" && w.docker.started["db-0"] < 2 {
				t.Error("web began before db")
			}
			return nil
		})
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if _, err := w.request("web", 0); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if w.startsOf("db") != 2 || w.startsOf("web") != 2 {
			t.Errorf("%v", w.docker.started)
		}
		time.Sleep(time.Second)
		warnings, err := w.engine().Events(w.ctx, fleet.EventFilter{Service: "web", Types: []fleet.EventType{fleet.EventWarning}})
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "nobody") {
			t.Errorf("%+v, %v", warnings, err)
		}
	})
}

func TestANeedThatCannotBeWokenIsSaid(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("db", "app:2", 1))
		web := w.spec("web", "app:1", 1)
		web.Wake.Needs = []string{"db"}
		web.Wake.MaxWait = fleet.Duration(5 * time.Second)
		w.asleep(web)
		w.behave("app:2", behaviour{exits: true, exitCode: 1, readyAfter: time.Second})
		if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.BadGateway || !strings.Contains(err.Error(), "what web needs") {
			t.Errorf("got %v", err)
		}
		w.behave("app:2", behaviour{never: true})
		if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.Timeout || !strings.Contains(err.Error(), "db") {
			t.Errorf("got %v", err)
		}
	})
}

func TestACallerWhoLeavesDuringTheWakeOfANeedStillWakesTheService(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behave("app:2", behaviour{readyAfter: 5 * time.Second})
		w.asleep(w.spec("db", "app:2", 1))
		web := w.spec("web", "app:1", 1)
		web.Wake.Needs = []string{"db"}
		w.asleep(web)
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		if _, err := w.engine().WakeForRequest(ctx, "web", "a request"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestServicesThatNeedEachOtherWakeAllTheSame(t *testing.T) {
	inWorld(t, func(w *world) { // they cannot be deployed so, but a rebuilt database can hold them
		w.deployed(w.spec("db", "app:2", 1))
		web := w.spec("web", "app:1", 1)
		web.Wake.Needs = []string{"db"}
		w.asleep(web)
		db, _ := w.engine().actor("db")
		if err := db.call(w.ctx, func() {
			spec := *db.print.spec
			spec.Wake.Needs = []string{"web"}
			print := *db.print
			print.spec = &spec
			db.print = &print
		}); err != nil {
			t.Fatal(err)
		}
		w.succeeded(w.engine().Sleep(w.ctx, "db", "tester"))
		began := time.Now()
		if _, err := w.request("web", 0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestAServiceScaledToNoneIsUnavailable(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.succeeded(w.engine().Scale(w.ctx, "web", 0, "tester"))
		time.Sleep(time.Second)
		for range 2 {
			if _, err := w.request("web", 0); fleet.KindOf(err) != fleet.Unavailable {
				t.Errorf("got %v", err)
			}
		}
		if status := w.status("web"); status != fleet.StatusStopped {
			t.Errorf("status %s", status)
		}
		w.restart()
		if status := w.status("web"); status != fleet.StatusStopped {
			t.Errorf("after a restart: status %s", status)
		}
		w.succeeded(w.engine().Scale(w.ctx, "web", 2, "tester"))
		w.settledOn("web", 1, 2)
	})
}

func TestAnAppStartedByHandIsAWake(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("web", "app:1", 1))
		w.docker.mu.Lock()
		id := w.docker.named("web-0").id
		w.docker.mu.Unlock()
		if err := w.docker.start(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		w.settledOn("web", 1, 1)
		if n := w.startsOf("web"); n != 2 {
			t.Errorf("started %d times", n)
		}
	})
}

// behindASlowStart runs a test while the start of web waits for its turn behind that
// of slow: both were asked for, in that order, and each request tells how it ended.
func behindASlowStart(t *testing.T, takes time.Duration, test func(w *world, answered <-chan error)) {
	t.Helper()
	synctestWorld(t, func(w *world) { w.config.MaxStarts = 1 }, func(w *world) {
		w.behave("app:2", behaviour{startTakes: takes})
		w.asleep(w.spec("slow", "app:2", 1))
		w.asleep(w.spec("web", "app:1", 1))
		answered := make(chan error, 2)
		for _, service := range []string{"slow", "web"} {
			go func() {
				_, err := w.request(service, 0)
				answered <- err
			}()
			time.Sleep(100 * time.Millisecond)
		}
		test(w, answered)
	})
}

func TestAnAppThatIsStartedByHandWhileItsStartWaitsForItsTurnStaysReady(t *testing.T) {
	behindASlowStart(t, 10*time.Second, func(w *world, answered <-chan error) {
		starts := w.startsOf("web")
		w.startByHand("web-0")
		began := time.Now()
		if err := <-answered; err != nil || time.Since(began) > time.Second {
			t.Errorf("the request for web was answered after %s: %v", time.Since(began), err)
		}
		if err := <-answered; err != nil {
			t.Errorf("the request for slow: %v", err)
		}
		time.Sleep(time.Minute)
		if got := w.startsOf("web") - starts; got != 1 || w.status("web") != fleet.StatusRunning {
			t.Errorf("web began %d times more and is %s", got, w.status("web"))
		}
		events, err := w.engine().Events(w.ctx, fleet.EventFilter{Service: "web", Types: []fleet.EventType{fleet.EventExit, fleet.EventHealth, fleet.EventWarning}, Limit: 10})
		if err != nil || len(events) > 0 {
			t.Errorf("told %+v, %v", events, err)
		}
	})
}

func TestAReadyReplicaWhoseStartWaitsForItsTurnIsPutToSleepAtOnce(t *testing.T) {
	behindASlowStart(t, 30*time.Second, func(w *world, _ <-chan error) {
		starts := w.startsOf("web")
		w.startByHand("web-0")
		w.untilStatus("web", fleet.StatusRunning)
		began := time.Now()
		w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it waited for %s", took)
		}
		time.Sleep(time.Minute)
		if got := w.startsOf("web") - starts; got != 1 || w.status("web") != fleet.StatusAsleep {
			t.Errorf("web began %d times more and is %s", got, w.status("web"))
		}
		if _, err := w.request("web", 0); err != nil {
			t.Errorf("a request that wakes it again: %v", err)
		}
	})
}

// TestAnEngineThatFallsSilentJustAfterAnAppIsReadyTakesItOffNoEdge: what became of
// its start is not known then, and is no end of the app.
func TestAnEngineThatFallsSilentJustAfterAnAppIsReadyTakesItOffNoEdge(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asleep(w.spec("web", "app:1", 1))
		starts := w.startsOf("web")
		lost := false
		w.flaw(func(verb, _ string) error {
			if lost = lost || verb == "start"; lost && verb != "start" {
				return fleet.Errorf(fleet.Unavailable, "the node does not answer")
			}
			return nil
		})
		if _, err := w.request("web", 0); err != nil {
			t.Fatal(err)
		}
		w.watchEdge("web", 1)
		time.Sleep(20 * time.Second)
		w.flaw(nil)
		time.Sleep(time.Minute)
		if got := w.startsOf("web") - starts; got != 1 || w.status("web") != fleet.StatusRunning {
			t.Errorf("web began %d times more and is %s", got, w.status("web"))
		}
	})
}
