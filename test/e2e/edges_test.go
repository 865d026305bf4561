//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"edgespawner/test/stand"
)

// mustAnswerAt asks each edge for a host's page.
func mustAnswerAt(s *stand.Stand, host, text string, edges ...*stand.Edge) {
	for _, edge := range edges {
		s.Do(stand.Request{Edge: edge, Host: host}).MustBe(200).MustContain(text)
	}
}

// awaitRoutes waits until an edge that was started again has what it had.
func awaitRoutes(t *testing.T, s *stand.Stand, edge *stand.Edge, host string) {
	t.Helper()
	stand.Eventually(t, 20*time.Second, edge.Name+" has the route of "+host, func() error {
		if answer := s.Do(stand.Request{Edge: edge, Host: host}); answer.Err != nil || answer.Status != 200 {
			return fmt.Errorf("status %d, %v", answer.Status, answer.Err)
		}
		return nil
	})
}

func TestTwoEdgesGetTheSameRoutesAndOneThatIsKilledIsNoLoss(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithEdges(2))
	collector := s.StartCollector()
	web := counted(s, collector, "web", 2)
	s.Deploy(web)
	s.Deploy(s.MockApp("nap", "nap.test"))
	s.Sleep("nap")
	first, second := s.Edges[0], s.Edges[1]
	mustAnswerAt(s, "web.test", "hostname: web-", first, second)
	mustAnswerAt(s, "nap.test", "hostname: nap-0", second, first)
	s.Do(stand.Request{Edge: second, Host: "nobody.test"}).MustBe(404)

	traffic := s.StartLoad(stand.Load{Host: "web.test", Edge: first, Collector: collector})
	second.Kill()
	waits := 0
	for _, step := range s.Deploy(withVersion(t, web, 1)).Steps {
		if step.Verb == "confirm" && step.EndedAt.Sub(step.StartedAt) > 10*time.Second {
			waits++
		}
	}
	if waits > 1 {
		t.Errorf("a deploy has waited for the dead edge %d times", waits)
	}
	s.Sleep("nap")
	mustAnswerAt(s, "nap.test", "hostname: nap-0", first)
	s.Deploy(s.MockApp("late", "late.test"))
	traffic.Stop().MustBeClean(t)

	second.Start()
	awaitRoutes(t, s, second, "late.test")
	mustAnswerAt(s, "web.test", "version: 1", first, second)
	mustAnswerAt(s, "late.test", "hostname: late-0", first, second)
}

// mustBeCarriedOutOnce posts an id to a sleeper while the spawner is away, and
// lets it come back. The edge tries for some 3 s; a machine on which a spawner
// needs 2 s to come back shows nothing.
func mustBeCarriedOutOnce(t *testing.T, s *stand.Stand, collector *stand.Collector, service, id string) {
	t.Helper()
	answers, began := make(chan stand.Answer, 1), time.Now()
	go func() { answers <- s.Post(service+".test", "/ids", id) }()
	<-time.After(500 * time.Millisecond) // the edge has tried and found nobody
	s.Spawner.Start()
	away := time.Duration(0)
	stand.Eventually(t, time.Minute, "the spawner takes requests", func() error {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.Spawner.FallbackURL, "http://"))
		if err != nil {
			return err
		}
		away = time.Since(began)
		return connection.Close()
	})
	s.Spawner.WaitReady()
	answer := <-answers
	t.Logf("the spawner was away for %v of a request; it got %d after %v", away, answer.Status, answer.Took)
	if answer.Status != 200 && away < 2*time.Second {
		t.Errorf("the client of %s got %d %v: %s", service, answer.Status, answer.Err, answer.Body)
	}
	if count := collector.Counts()[id]; count > 1 || answer.Status == 200 && count != 1 {
		t.Errorf("the POST to %s was carried out %d times", service, count)
	}
}

func TestAnEdgeThatIsRestartedHasItsRoutesAgain(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	s.Deploy(s.MockApp("nap", "nap.test"))
	s.Sleep("nap")
	edge := s.Edges[0]
	for _, end := range []func(){edge.Kill, func() { edge.Stop() }} {
		end()
		edge.Start()
		awaitRoutes(t, s, edge, "web.test")
		s.Get("nap.test", "/").MustBe(200).MustContain("hostname: nap-0")
		s.Sleep("nap")
	}
}

func TestWhileTheSpawnerIsAwayAwakeServicesLoseNothingAndSleepersClientsWait(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	s.Deploy(counted(s, collector, "web", 2))
	s.Deploy(counted(s, collector, "nap", 1))
	s.Sleep("nap")
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})

	if code := s.Spawner.Stop(); code != 0 {
		t.Errorf("the spawner ended with code %d after SIGTERM:\n%s", code, s.Spawner.LogTail(10))
	}
	mustBeCarriedOutOnce(t, s, collector, "nap", "patient")
	s.Deploy(s.MockApp("fresh", "fresh.test")) // ends when the edge, back from its pause, has the route
	s.Get("fresh.test", "/").MustBe(200).MustContain("hostname: fresh-0")
	traffic.Stop().MustBeClean(t)
}
