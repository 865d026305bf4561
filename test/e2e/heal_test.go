//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// watched is a mock-app that is probed so often that a client with a patience of
// 5 s does not notice one that hangs.
func watched(s *stand.Stand, collector *stand.Collector, name string, replicas int) fleet.Spec {
	app := counted(s, collector, name, replicas)
	app.HealthCheck.Interval, app.HealthCheck.Timeout = fleet.Duration(300*time.Millisecond), fleet.Duration(500*time.Millisecond)
	app.HealthCheck.Retries = 2
	app.StopGrace = fleet.Duration(time.Second)
	app.Resources.MemoryMB = 64
	return app
}

// fault is what befalls a replica of a service. One that cuts takes the network
// from under it: who waits for an answer then is told nothing, by no packet.
type fault struct {
	name string
	deed func(t *testing.T, s *stand.Stand, service string, index int)
	cuts bool
}

var faults = []fault{
	{"it crashes", func(_ *testing.T, s *stand.Stand, service string, index int) {
		s.Misbehave(service, index, "/crash?code=3")
	}, false},
	{"it hangs", func(_ *testing.T, s *stand.Stand, service string, index int) { s.Misbehave(service, index, "/hang") }, false},
	{"it falls ill", func(_ *testing.T, s *stand.Stand, service string, index int) {
		s.Misbehave(service, index, "/unhealthy")
	}, false},
	{"it runs out of memory", func(_ *testing.T, s *stand.Stand, service string, index int) {
		s.Misbehave(service, index, "/oom?mb=512")
	}, false},
	{"kill -STOP", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "kill", "--signal", "STOP", s.AppOf(service, index))
	}, false},
	{"kill -KILL", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "kill", "--signal", "KILL", s.AppOf(service, index))
	}, false},
	{"docker stop", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "stop", "-t", "0", s.AppOf(service, index))
	}, false},
	{"docker pause", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "pause", s.AppOf(service, index))
	}, false},
	{"docker rm -f of the app", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "rm", "-f", s.AppOf(service, index))
	}, false},
	{"docker restart of the sandbox", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "restart", "-t", "0", s.SandboxOf(service, index))
	}, true},
	{"docker network disconnect of the sandbox", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "network", "disconnect", s.Network, s.SandboxOf(service, index))
	}, true},
	{"docker rm -f of both", func(t *testing.T, s *stand.Stand, service string, index int) {
		stand.Docker(t, "rm", "-f", s.SandboxOf(service, index), s.AppOf(service, index))
	}, true},
}

// befall lets a fault befall a replica under traffic, and returns the traffic when
// the service is whole again: by another life of the app, unless it only was paused.
func befall(t *testing.T, s *stand.Stand, load stand.Load, fault fault, service string, index int) *stand.Traffic {
	t.Helper()
	traffic := s.StartLoad(load)
	before := lifeOf(s, service, index)
	began := time.Now()
	fault.deed(t, s, service, index)
	stand.Eventually(t, 60*time.Second, service+" is whole again", func() error {
		if fault.name != "docker pause" && lifeOf(s, service, index) == before {
			return fmt.Errorf("%s-%d still lives its life of before", service, index)
		}
		return whole(s, service)
	})
	t.Logf("%s: whole again after %v", fault.name, time.Since(began).Round(time.Millisecond))
	return traffic
}

// mustHaveCost accepts of a fault that cuts the few requests that were in flight
// at that moment, and of any other nothing but POSTs in flight that were refused.
func (f fault) mustHaveCost(t *testing.T, report stand.Report) {
	t.Helper()
	// An edge keeps idle connections to an app, and each of them can take one
	// request before it is known that nobody answers there.
	const inFlight = 100
	if f.cuts {
		mustHaveLostOnly(t, report, inFlight)
		return
	}
	report.MustBeCleanButRefused(t)
}

// lifeOf tells one life of a replica's app from another.
func lifeOf(s *stand.Stand, service string, index int) string {
	out, err := stand.TryDocker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", s.Service(service).Containers[index].ID)
	if err != nil {
		return "gone"
	}
	return out
}

// mustHaveLostOnly accepts, beside POSTs that were refused, that clients of little
// patience did not wait until what went with a machine or a network was given up.
func mustHaveLostOnly(t *testing.T, report stand.Report, inHand int) {
	t.Helper()
	if report.Errors > inHand {
		t.Errorf("%d requests failed, want at most the %d that the lost machine had:\n%s", report.Errors, inHand, strings.Join(report.Failures, "\n"))
	}
	report.MustHaveRunOnce(t)
}

func TestNoFaultOfOneOfTwoReplicasCostsARequest(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	services := []string{"two", "duo"} // four replicas take turns, so that none is restarted so often that it has to wait
	for _, service := range services {
		s.Deploy(watched(s, collector, service, 2))
	}
	for n, fault := range faults {
		service := services[n%2]
		traffic := befall(t, s, stand.Load{Host: service + ".test", Collector: collector}, fault, service, n/2%2)
		t.Run(fault.name, func(t *testing.T) { fault.mustHaveCost(t, traffic.Stop()) })
	}
}

func TestTheOnlyReplicaIsHealedWhileRequestsAreHeld(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	one := watched(s, collector, "one", 1)
	one.RestartLimit.Attempts = 100
	s.Deploy(one)
	for _, fault := range faults {
		load := stand.Load{Host: "one.test", Collector: collector, Rate: 50, Limit: stand.Held, Posts: -1}
		traffic := befall(t, s, load, fault, "one", 0)
		t.Run(fault.name, func(t *testing.T) { fault.mustHaveCost(t, traffic.Stop()) })
	}
}

func TestACrashLoopEndsFailedWithItsLastWordsAndIsTriedAgainAtTheNextRequest(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	loop := s.MockApp("loop", "loop.test")
	loop.RestartLimit = fleet.RestartLimit{Attempts: 2}
	loop.Env["CRASH_AFTER"] = secret("4s")
	loop.Env["PASSWORD"] = secret("hunter2-of-the-loop")
	loop.Env["CONNSTR"] = secret("db with hunter2-of-the-loop")
	s.Deploy(loop)
	s.WaitStatus("loop", 90*time.Second, fleet.StatusFailed)
	failed := ""
	stand.Eventually(t, 20*time.Second, "the event is told", func() error {
		events := s.Events("loop", fleet.EventFailed)
		if len(events) != 1 {
			return fmt.Errorf("%d events", len(events))
		}
		failed = events[0].Message
		return nil
	})
	for _, wanted := range []string{"exit code 1", "out of memory: false", "Its last lines:", "msg=Listening"} {
		if !strings.Contains(failed, wanted) {
			t.Errorf("%q is not in %q", wanted, failed)
		}
	}
	if strings.Contains(failed, "hunter2") {
		t.Errorf("a secret stands in %q", failed)
	}
	s.Get("loop.test", "/").MustBe(200)
	if wakes := s.Wakes("loop"); len(wakes) != 1 {
		t.Errorf("%d wakes", len(wakes))
	}
}

func TestAnAppThatTheKernelKillsForWantOfMemoryIsSaidToHaveBeen(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	greedy := s.MockApp("greedy", "greedy.test")
	greedy.Resources.MemoryMB = 32
	s.Deploy(greedy)
	s.Misbehave("greedy", 0, "/oom?mb=256")
	stand.Eventually(t, 60*time.Second, "it serves again", func() error {
		if !slices.ContainsFunc(s.Events("greedy", fleet.EventExit), func(e fleet.Event) bool {
			return strings.Contains(e.Message, "greedy-0 was killed for want of memory (exit code 137)")
		}) {
			return fmt.Errorf("the exits are %v", s.Events("greedy", fleet.EventExit))
		}
		return whole(s, "greedy")
	})
	s.Get("greedy.test", "/").MustBe(200)
}

func TestDockersHealthcheckIsReadFromItsEventsAndNotBelievedOfWhatWasPaused(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	image := stand.MockAppVariant(t, "checked", `HEALTHCHECK --interval=2s --timeout=15s --retries=2 CMD ["/mock-app", "health"]`)
	spec := func(name string, replicas int) fleet.Spec {
		app := s.MockApp(name, name+".test")
		app.Image, app.Replicas, app.HealthCheck = image, replicas, nil
		return app
	}
	s.Deploy(spec("two", 2))
	dozing := spec("doze", 1)
	dozing.Sleep.Mode = fleet.SleepPause
	s.Deploy(dozing)
	s.Sleep("doze")

	traffic := s.StartLoad(stand.Load{Host: "two.test", Posts: -1})
	before := lifeOf(s, "two", 1)
	s.Misbehave("two", 1, "/unhealthy")
	stand.Eventually(t, 60*time.Second, "it is restarted", func() error {
		if lifeOf(s, "two", 1) == before {
			return fmt.Errorf("two-1 still lives its life of before")
		}
		return whole(s, "two")
	})
	traffic.Stop().MustBeClean(t)
	if told := s.Events("two", fleet.EventHealth); len(told) == 0 || told[0].Message != "Container two-1 failed health check: the image's HEALTHCHECK failed" {
		t.Errorf("events %v", told)
	}

	if health := stand.Inspect(t, s.AppOf("doze", 0), "{{.State.Health.Status}}"); health != "unhealthy" {
		t.Logf("the engine says of a paused app: %s", health) // else it has nothing to be mistaken about
	}
	life := lifeOf(s, "doze", 0)
	s.Get("doze.test", "/").MustBe(200)
	stand.Eventually(t, 30*time.Second, "the engine calls it healthy", func() error {
		if health := stand.Inspect(t, s.AppOf("doze", 0), "{{.State.Health.Status}}"); health != "healthy" {
			return fmt.Errorf("it says %s", health)
		}
		return nil
	})
	if told := s.Events("doze", fleet.EventHealth); len(told) != 0 || lifeOf(s, "doze", 0) != life {
		t.Errorf("events %v; its life was %s and is %s", told, life, lifeOf(s, "doze", 0))
	}
	s.Get("doze.test", "/").MustBe(200)
}

func TestWhatSomebodyChangedInAContainerIsDriftUntilARestart(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("changed", "changed.test")
	app.Resources.MemoryMB = 64
	s.Deploy(app)
	life := lifeOf(s, "changed", 0)
	stand.Docker(t, "update", "--memory", "96m", "--memory-swap", "192m", s.AppOf("changed", 0))
	stand.Eventually(t, 30*time.Second, "it is seen", func() error {
		if drift := s.Service("changed").Detail[0].Drift; len(drift) != 1 || !strings.Contains(drift[0], "96 MiB, not 64") {
			return fmt.Errorf("drift is %q", drift)
		}
		return nil
	})
	if why := s.Why("changed"); !strings.Contains(strings.Join(why.Reasons, "\n"), "changed-0 is not what was deployed") {
		t.Errorf("why says %q", why.Reasons)
	}
	s.Spawner.Kill() // and it is said again after a start
	s.Spawner.Start()
	s.Spawner.WaitReady()
	if drift := s.Service("changed").Detail[0].Drift; len(drift) != 1 || lifeOf(s, "changed", 0) != life {
		t.Errorf("after a start drift is %q; its life was %s and is %s", drift, life, lifeOf(s, "changed", 0))
	}
	s.Restart("changed")
	if drift := s.Service("changed").Detail[0].Drift; len(drift) != 0 {
		t.Errorf("after a restart drift is %q", drift)
	}
	if limit := stand.Inspect(t, s.AppOf("changed", 0), "{{.HostConfig.Memory}}"); limit != fmt.Sprint(64<<20) {
		t.Errorf("the limit is %s", limit)
	}
}
