//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// recovery is how long after its start a killed spawner may take until a
// service is whole again.
const recovery = 30 * time.Second

// whole says what a service lacks: it has exactly the wanted replicas, all
// ready, all of the revision in service, and nothing is left over.
func whole(s *stand.Stand, service string) error {
	detail := s.Service(service)
	if detail.JobID != "" {
		return fmt.Errorf("job %s is not at its end", detail.JobID)
	}
	return servesRevision(s, service, detail.Revision, detail.Replicas)
}

// mustRecover starts the killed spawner, waits until the service is whole, and
// returns the cut-off job at its end.
func mustRecover(t *testing.T, s *stand.Stand, service, job string) fleet.Job {
	t.Helper()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	stand.Eventually(t, recovery, service+" is whole after the kill", func() error { return whole(s, service) })
	return s.WaitJob(job)
}

func TestASpawnerKilledAfterAnyStepOfADeployGoesOnWithIt(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	for n, step := range []string{
		"place web", "pull web", "create web-0", "start web-0", "confirm web-0", "drain web-0", "stop web-0",
		"create web-1", "start web-1", "confirm web-1", "drain web-1", "stop web-1", "confirm web:", "remove web-0", "remove web-1",
	} {
		steps := followSteps(t, s, "web")
		accepted := s.StartDeploy(withVersion(t, web, n%2+1))
		steps.await(step)
		s.Spawner.Kill()
		job := mustRecover(t, s, "web", accepted.JobID)
		if job.State != fleet.JobSucceeded {
			t.Errorf("killed after %q: the deploy is %s: %s", step, job.State, job.Error)
		}
		mustServeRevision(t, s, "web", accepted.Revision, 2)
	}
	s.Get("web.test", "/").MustBe(200).MustContain("version: 1") // none before: the edge would keep its connection
}

func TestASpawnerKilledAtAnyMomentOfAnyJobEndsItHonestly(t *testing.T) {
	t.Parallel()
	const rounds = 12
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	s.Deploy(withVersion(t, web, 1))
	for n := range rounds {
		jobs := map[string]func(context.Context) (fleet.Accepted, error){
			"deploy":   func(context.Context) (fleet.Accepted, error) { return s.StartDeploy(withVersion(t, web, n%2+2)), nil },
			"restart":  func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Restart(ctx, "web") },
			"rollback": func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Rollback(ctx, "web", 0) },
			"scale":    func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Scale(ctx, "web", 1+n%3) },
		}
		verb := []string{"deploy", "restart", "rollback", "scale"}[n%len(jobs)]
		moment := time.Duration(random.IntN(2500)) * time.Millisecond
		t.Logf("round %d: %s, killed after %s", n, verb, moment)
		accepted, err := jobs[verb](t.Context())
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		<-time.After(moment)
		s.Spawner.Kill()
		if job := mustRecover(t, s, "web", accepted.JobID); job.State != fleet.JobSucceeded {
			t.Errorf("the %s is %s: %s", verb, job.State, job.Error)
		}
	}
	s.Get("web.test", "/").MustBe(200)
}
