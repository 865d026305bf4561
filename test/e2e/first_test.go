//go:build e2e

package e2e

import (
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestADeployedServiceAnswersThroughTheEdge(t *testing.T) {
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Get("web.test", "/").MustBe(200).MustContain("hostname: web-0")
	s.Get("other.test", "/").MustBe(404)
}

func TestARequestWakesASleepingService(t *testing.T) {
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Sleep("web")
	if status := s.Service("web").Status; status != fleet.StatusAsleep {
		t.Fatalf("got status %s, want asleep", status)
	}
	s.Get("web.test", "/").MustBe(200)
	s.WaitStatus("web", 20*time.Second, fleet.StatusRunning)
}

func TestARestartUnderTrafficCostsNoRequest(t *testing.T) {
	s := stand.Start(t)
	collector := s.StartCollector()
	app := s.MockApp("web", "web.test")
	app.Env["IDS_URL"] = fleet.Secret(collector.URL)
	s.Deploy(app)
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	for range 3 {
		s.Restart("web")
	}
	traffic.Stop().MustBeClean(t)
}
