//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// newVersion returns an image of mock-app that says "version: <n>".
func newVersion(t *testing.T, n int) string {
	t.Helper()
	return stand.MockAppVariant(t, fmt.Sprintf("e2e-v%d", n), fmt.Sprintf("ENV VERSION=%d", n))
}

// counted is a mock-app whose POSTs the collector counts.
func counted(s *stand.Stand, collector *stand.Collector, name string, replicas int) fleet.Spec {
	app := s.MockApp(name, name+".test")
	app.Replicas = replicas
	app.Env["IDS_URL"] = secret(collector.URL)
	return app
}

func TestNoRequestIsLostToDeploysScalesRestartsRollbacksAndSleepersBeside(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	busy, napping := counted(s, collector, "busy", 1), counted(s, collector, "napping", 1)
	s.Deploy(busy)
	s.Deploy(napping)
	traffic := s.StartLoad(stand.Load{Host: "busy.test", Collector: collector})

	sides := []func(){
		func() {
			for n := range 5 {
				busy.Image = newVersion(t, n+1)
				busy.Replicas = 1 + n/4 // the last one is rolled out over two replicas
				s.Deploy(busy)
				s.Get("busy.test", "/").MustBe(200).MustContain(fmt.Sprintf("version: %d", n+1))
			}
			s.Scale("busy", 4)
			s.Scale("busy", 1)
			s.Restart("busy")
			s.Rollback("busy", 0)
			s.Get("busy.test", "/").MustBe(200).MustContain("version: 4")
		},
		func() {
			for n := range 6 {
				s.Sleep("napping")
				s.Post("napping.test", "/ids", fmt.Sprintf("nap-%d", n)).MustBe(200)
			}
		},
	}
	together(t, len(sides), func(i int) { sides[i]() })

	traffic.Stop().MustBeClean(t)
	for n := range 6 {
		if count := collector.Counts()[fmt.Sprintf("nap-%d", n)]; count != 1 {
			t.Errorf("the POST that woke the sleeper for the %d. time was carried out %d times", n+1, count)
		}
	}
}

func TestAKilledAppCostsNoRequestButPostsInFlight(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "one", 1))
	s.Deploy(counted(s, collector, "two", 2))
	loads := []*stand.Traffic{
		s.StartLoad(stand.Load{Host: "one.test", Collector: collector, Rate: 100, Limit: stand.Held}),
		s.StartLoad(stand.Load{Host: "two.test", Collector: collector, Rate: 100}),
	}
	services := map[string]int{"one": 1, "two": 2}
	for range 3 {
		before := map[string]string{}
		for service := range services {
			before[service] = lifeOf(s, service, 0)
			stand.Docker(t, "kill", "--signal", "KILL", s.AppOf(service, 0))
		}
		for service, replicas := range services {
			stand.Eventually(t, time.Minute, service+" lives again", func() error {
				if lifeOf(s, service, 0) == before[service] {
					return errors.New("it lives its life of before")
				}
				return nil
			})
			s.WaitReplicas(service, replicas)
		}
		served := loads[0].SoFar().Good
		stand.Eventually(t, 60*time.Second, "traffic flows again", func() error {
			if now := loads[0].SoFar().Good; now < served+100 {
				return fmt.Errorf("%d more good answers", now-served)
			}
			return nil
		})
	}
	for _, traffic := range loads {
		report := traffic.Stop()
		report.MustBeCleanButRefused(t)
		if most := 3 * 60; report.Refused > most { // of the 2 s in which one may have been in flight, each time
			t.Errorf("%d POSTs were refused, want at most %d", report.Refused, most)
		}
	}
}

func TestAKilledSpawnerCostsNoRequestOfServicesAwakeOrAsleep(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "busy", 2))
	sleepers := []string{"nap0", "nap1", "nap2"}
	for _, name := range sleepers {
		s.Deploy(counted(s, collector, name, 1))
	}
	sleepAll(t, s, sleepers...)
	before := s.Containers("busy", "")
	traffic := s.StartLoad(stand.Load{Host: "busy.test", Collector: collector})
	for _, name := range sleepers {
		s.Spawner.Kill()
		mustBeCarriedOutOnce(t, s, collector, name, "while-down-"+name)
	}
	traffic.Stop().MustBeClean(t)
	if after := s.Containers("busy", ""); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the service under traffic has other containers now: %v, before %v", after, before)
	}
}
