//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestTheMetricsTellWhatHasHappened(t *testing.T) {
	s := stand.Start(t)
	s.Deploy(s.MockApp("shop", "shop.test"))
	s.Sleep("shop")
	s.Get("shop.test", "/").MustBe(http.StatusOK)
	if answer, err := http.Get("http://" + s.Service("shop").Detail[0].Address + ":9000/crash?code=3"); err == nil {
		answer.Body.Close()
		t.Fatalf("an app that crashes answers %s", answer.Status)
	}
	stand.Eventually(t, 30*time.Second, "the crash is counted", func() error {
		if s.Service("shop").Detail[0].Restarts == 0 {
			return errors.New("it was not restarted yet")
		}
		return nil
	})
	stand.Eventually(t, 30*time.Second, "a probe is counted", func() error {
		if number(t, s.Metric("spawner_probe_lateness_seconds_count")) == 0 {
			return errors.New("none yet")
		}
		if _, there := s.FindMetric(`spawner_probes_total{result="success",type="http"}`); !there {
			return errors.New("none yet that the app has passed") // the first may have met the crash
		}
		return nil
	})
	s.Get("shop.test", "/").MustBe(http.StatusOK)
	s.WaitStatus("shop", 30*time.Second, fleet.StatusRunning)
	for metric, least := range map[string]float64{
		`spawner_services{status="running"}`:                                     1,
		`spawner_service_status{service="shop",status="running"}`:                1,
		`spawner_service_replicas_ready{service="shop"}`:                         1,
		`spawner_jobs_total{kind="deploy",outcome="succeeded"}`:                  1,
		`spawner_sleeps_total{mode="stop",service="shop"}`:                       1,
		`spawner_wakes_total{mode="stop",outcome="ready",service="shop"}`:        1,
		`spawner_wake_seconds_count{mode="stop"}`:                                1,
		`spawner_restarts_total{reason="crashed",service="shop"}`:                1,
		`spawner_fallback_requests_total{leg="asleep"}`:                          1,
		`spawner_fallback_outcomes_total{outcome="proxied"}`:                     1,
		`spawner_probe_targets`:                                                  1,
		`spawner_edge_connected{edge="` + s.Edges[0].Name + `"}`:                 1,
		`spawner_edge_apply_seconds_count{edge="` + s.Edges[0].Name + `"}`:       1,
		`spawner_engine_call_seconds_count{node="local",verb="start_container"}`: 2,
		`spawner_node_state{node="local",state="ready"}`:                         1,
		`spawner_node_replicas{node="local"}`:                                    1,
		`spawner_probes_total{result="success",type="http"}`:                     1,
		`spawner_events_total{type="wake"}`:                                      1,
		`process_resident_memory_bytes`:                                          10e6,
	} {
		if value := number(t, s.Metric(metric)); value < least {
			t.Errorf("%s is %v, want at least %v", metric, value, least)
		}
	}
	for _, none := range []string{"spawner_held_requests", "spawner_jobs_waiting", "spawner_jobs_running", "spawner_event_followers"} {
		if value := number(t, s.Metric(none)); value != 0 {
			t.Errorf("%s is %v at rest", none, value)
		}
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
