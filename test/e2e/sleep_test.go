//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// sleepy is a mock-app that sleeps after two seconds without use.
func sleepy(s *stand.Stand, name string) fleet.Spec {
	app := s.MockApp(name, name+".test")
	app.Sleep.After = fleet.Duration(2 * time.Second)
	return app
}

// fallsAsleep bounds the time from the end of use to sleep: sleep.after, the
// edge's idle connections, and the looks in between.
const fallsAsleep = 60 * time.Second

func TestAServiceInUseStaysAwakeAndSleepsWhenThatEnds(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(sleepy(s, "unused"))
	s.Deploy(sleepy(s, "socket"))
	socket := openWebSocket(t, s, "socket.test") // and silent from here on
	s.Deploy(sleepy(s, "download"))
	download := open(t, s, "http://download.test/download?bytes=2500000&rate=50000")
	s.Deploy(sleepy(s, "events"))
	events := openEvents(t, s, "events.test", "every=50s&count=2")
	s.Deploy(sleepy(s, "long"))
	long := make(chan stand.Answer, 1)
	go func() { long <- s.Do(stand.Request{Host: "long.test", Path: "/slow?d=50s", Within: 2 * time.Minute}) }()
	s.WaitStatus("unused", fallsAsleep, fleet.StatusAsleep)

	used := []string{"socket", "download", "long", "events"}
	stand.Always(t, 10*time.Second, "what is used stays awake", func() error {
		for _, name := range used {
			if status := s.Service(name).Status; status != fleet.StatusRunning {
				return fmt.Errorf("%s is %s", name, status)
			}
		}
		return nil
	})
	if why := s.Why("socket"); !strings.Contains(strings.Join(why.Reasons, " "), "connection") {
		t.Errorf("why socket is awake: %v", why.Reasons)
	}
	mustEcho(t, socket, "still there")
	if n, err := io.Copy(io.Discard, download); err != nil || n != 2_500_000 {
		t.Errorf("the download broke off after %d bytes: %v", n, err)
	}
	for events.Scan() {
	}
	if err := events.Err(); err != nil {
		t.Errorf("the events broke off: %v", err)
	}
	(<-long).MustBe(200)
	if err := socket.CloseNow(); err != nil {
		t.Error(err)
	}
	for _, name := range used {
		s.WaitStatus(name, fallsAsleep, fleet.StatusAsleep)
	}
	for _, name := range used { // and wake again
		s.Get(name+".test", "/").MustBe(200)
	}
}

func TestAWokenServiceInUseStaysAwakeToo(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := sleepy(s, "web")
	app.Sleep.Mode = fleet.SleepPause
	s.Deploy(app)
	s.WaitStatus("web", fallsAsleep, fleet.StatusDozing)
	socket := openWebSocket(t, s, "web.test") // by the fallback router, which woke it
	stand.Always(t, 10*time.Second, "the service stays awake", func() error {
		if status := s.Service("web").Status; status != fleet.StatusRunning {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	mustEcho(t, socket, "still there")
	if err := socket.CloseNow(); err != nil {
		t.Error(err)
	}
	s.WaitStatus("web", fallsAsleep, fleet.StatusDozing)
}

func TestAnAppThatEndsByItselfIsAsleepAndWakes(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := sleepy(s, "web")
	app.Sleep.After = fleet.Duration(time.Hour)
	app.Env["IDLE"] = "6s"
	s.Deploy(app)
	for range 2 {
		s.WaitStatus("web", 40*time.Second, fleet.StatusAsleep)
		s.Get("web.test", "/").MustBe(200)
	}
	if restarts := s.Events("web", fleet.EventRestart); len(restarts) > 0 {
		t.Errorf("it was restarted: %v", restarts)
	}
}

func TestARequestWhileAServiceFallsAsleepCallsItBack(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	slow := make(chan stand.Answer, 1)
	go func() { slow <- s.Do(stand.Request{Host: "web.test", Path: "/slow?d=25s", Within: time.Minute}) }()
	stand.Eventually(t, 10*time.Second, "the request is under way", func() error {
		if !strings.Contains(stand.Docker(t, "exec", s.SandboxOf("web", 0), "/sandbox", "conns"), `"inbound":true`) {
			return fmt.Errorf("no connection")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	accepted, err := s.Client.Sleep(ctx, "web")
	if err != nil {
		t.Fatal(err)
	}
	s.WaitStatus("web", 10*time.Second, fleet.StatusSleeping)
	stand.Eventually(t, 8*time.Second, "a request calls it back", func() error {
		// The first ones may still be led to the app by the edge.
		if answer := s.Get("web.test", "/").MustBe(200); answer.Took > 3*time.Second {
			t.Errorf("a request took %s", answer.Took)
		}
		if status := s.Service("web").Status; status != fleet.StatusRunning {
			return fmt.Errorf("it is %s", status)
		}
		return nil
	})
	(<-slow).MustBe(200)
	if job, err := s.Client.WaitJob(ctx, accepted.JobID); err != nil || job.State == fleet.JobSucceeded {
		t.Errorf("the job of a sleep that was called off: %s %s, %v", job.State, job.Error, err)
	}
	if status := s.Service("web").Status; status != fleet.StatusRunning {
		t.Errorf("web is %s", status)
	}
	if starts := stand.Starts(t, s.AppOf("web", 0)); starts != 1 {
		t.Errorf("the app was started %d times, want once", starts)
	}
}

// beginSleep asks for a sleep and waits until the app has been told to end.
func beginSleep(t *testing.T, s *stand.Stand, service string) (job string) {
	t.Helper()
	app := s.AppOf(service, 0)
	told := func() int { return strings.Count(stand.Docker(t, "logs", app), "Told to end") }
	before := told()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	accepted, err := s.Client.Sleep(ctx, service)
	if err != nil {
		t.Fatal(err)
	}
	stand.Eventually(t, 30*time.Second, "the app is told to end", func() error {
		if told() == before {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	return accepted.JobID
}

func TestAnAppThatIsSlowToStopIsPutToSleepUnderTrafficWithoutAnError(t *testing.T) {
	s := stand.Start(t)
	collector := s.StartCollector()
	app := s.MockApp("web", "web.test")
	app.Env["STOP_DELAY"], app.Env["IDS_URL"] = "5s", secret(collector.URL)
	app.StopGrace = fleet.Duration(10 * time.Second)
	s.Deploy(app)
	beginSleep(t, s, "web") // the traffic meets an app that does not listen any more, and cannot be started yet
	traffic := s.StartLoad(stand.Load{Host: "web.test", Rate: 100, Limit: stand.Held, Collector: collector})
	s.WaitStatus("web", 40*time.Second, fleet.StatusRunning)
	for range 3 { // sleeps that the traffic calls off
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		accepted, err := s.Client.Sleep(ctx, "web")
		if err != nil {
			t.Fatal(err)
		}
		job, err := s.Client.WaitJob(ctx, accepted.JobID)
		if err != nil || job.State == fleet.JobSucceeded {
			t.Errorf("a sleep under traffic: %s %s, %v", job.State, job.Error, err)
		}
		cancel()
	}
	traffic.Stop().MustBeClean(t)
	if starts := stand.Starts(t, s.AppOf("web", 0)); starts != 2 {
		t.Errorf("the app was started %d times, want twice", starts)
	}
}

func TestAServiceThatSleepsIsDeployedAnewWithoutBeingWokenForGood(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	s.Deploy(app)
	s.Sleep("web")
	s.Deploy(withEnv(app, "VERSION", "2"))
	if status := s.Service("web").Status; status != fleet.StatusAsleep {
		t.Errorf("after the deploy it is %s", status)
	}
	if state := stand.StateOf(t, s.AppOf("web", 0)); state != "exited" {
		t.Errorf("after the deploy the app is %s", state)
	}
	s.Get("web.test", "/").MustBe(200).MustContain("version: 2")
}
