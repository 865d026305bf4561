package main

import (
	"fmt"
	"syscall"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// The traffic run, as the issue asks for it.
const (
	trafficSleeps  = 20
	trafficDeploys = 5
)

// trafficRun sends 200 req/s to a service that is deployed anew, loses its app
// and its spawner, and to one that is put to sleep and woken meanwhile. The
// sleeper gets bursts: a service under constant traffic does not fall asleep.
func trafficRun(b *bench) {
	s := stand.Start(b)
	collector := s.StartCollector()
	busy, sleeper, resting := s.MockApp("busy", "busy.test"), s.MockApp("napping", "napping.test"), s.MockApp("resting", "resting.test")
	busy.Replicas = 2
	for _, spec := range []*fleet.Spec{&busy, &sleeper, &resting} {
		spec.Env["IDS_URL"] = fleet.Secret(collector.URL)
		s.Deploy(*spec)
	}
	s.Sleep("resting")
	idle := b.memoryOf(s.Spawner.PID())
	traffic := s.StartLoad(stand.Load{Host: "busy.test", Collector: collector})

	b.naps(s)
	for n := range trafficDeploys {
		busy.Env["VERSION"] = fleet.Secret(fmt.Sprint(n + 1))
		s.Deploy(busy)
	}
	apps := s.Containers("busy", string(fleet.RoleApp))
	b.call("POST", "/containers/"+apps[0]+"/kill?signal=KILL", nil, nil)
	time.Sleep(3 * time.Second)
	killed := time.Now()
	s.Spawner.Kill()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	back := time.Since(killed)
	s.Get("resting.test", "/").MustBe(200)
	time.Sleep(2 * time.Second)

	report := traffic.Stop()
	bad := report.Errors + len(report.Lost) + len(report.Twice)
	b.hold("errors under 200 req/s: 20 naps beside it, 5 deploys, a kill of an app and of the spawner", float64(bad), "", "0", bad == 0, report.String())
	for _, failure := range report.Failures {
		b.Logf("%s", failure)
	}
	b.atMost("spawner back after kill -9", back.Seconds(), 2, "s", "")
	b.show("spawner's memory, idle with 3 services", idle, "MB", "resident")
	b.show("spawner's memory after the run", b.memoryOf(s.Spawner.PID()), "MB", "resident, of the second process")
	if err := syscall.Kill(s.Spawner.PID(), 0); err != nil {
		b.Fatalf("the spawner is gone: %v", err)
	}
}

// naps puts the sleeper to sleep and wakes it with a burst of traffic, again and again.
func (b *bench) naps(s *stand.Stand) {
	requests, bad := 0, 0
	for range trafficSleeps {
		s.Sleep("napping")
		burst := s.StartLoad(stand.Load{Host: "napping.test", Limit: 30 * time.Second, Posts: -1})
		time.Sleep(500 * time.Millisecond)
		report := burst.Stop()
		requests += report.Requests
		bad += report.Errors + report.Refused
		for _, failure := range report.Failures {
			b.Logf("nap: %s", failure)
		}
	}
	b.hold(fmt.Sprintf("errors of %d naps, each woken by a burst at 200 req/s", trafficSleeps), float64(bad), "", "0", bad == 0, fmt.Sprintf("%d requests", requests))
}
