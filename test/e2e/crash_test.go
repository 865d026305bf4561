//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
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

func TestASpawnerKilledInTheMiddleOfAnyOtherJobGoesOnWithIt(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	s.Deploy(withVersion(t, web, 1))
	scale := func(n int) func(context.Context) (fleet.Accepted, error) {
		return func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Scale(ctx, "web", n) }
	}
	restart := func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Restart(ctx, "web") }
	rollback := func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Rollback(ctx, "web", 0) }
	for _, job := range []struct {
		ask      func(context.Context) (fleet.Accepted, error)
		step     string
		replicas int
	}{
		{scale(3), "create web-2", 3}, {scale(2), "stop web-2", 2},
		{restart, "start web-1", 2}, {restart, "stop web-0", 2}, {restart, "remove web-0", 2},
		{rollback, "start web-0", 2}, {rollback, "confirm web:", 2},
	} {
		steps := followSteps(t, s, "web")
		accepted, err := job.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		steps.await(job.step)
		s.Spawner.Kill()
		if ended := mustRecover(t, s, "web", accepted.JobID); ended.State != fleet.JobSucceeded {
			t.Errorf("killed after %q: the %s is %s: %s", job.step, ended.Kind, ended.State, ended.Error)
		}
		mustServeRevision(t, s, "web", s.Service("web").Revision, job.replicas)
	}
}

func TestASpawnerKilledInTheMiddleOfARemoveGoesOnWithIt(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	for _, step := range []string{"confirm web", "drain web", "remove web-0", "remove web-1"} {
		s.Deploy(web)
		steps := followSteps(t, s, "web")
		accepted, err := s.Client.Remove(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		steps.await(step)
		s.Spawner.Kill()
		s.Spawner.Start()
		s.Spawner.WaitReady()
		if job := s.WaitJob(accepted.JobID); job.State != fleet.JobSucceeded {
			t.Errorf("killed after %q: the remove is %s: %s", step, job.State, job.Error)
		}
		if left := s.Containers("web", ""); len(left) != 0 {
			t.Errorf("killed after %q: left are %v", step, left)
		}
	}
}

// kills is how many random kills a run tries: 20, or SPAWNER_KILLS.
func kills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("SPAWNER_KILLS"), "20"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// seed is that of a run's random numbers: SPAWNER_SEED, which a run that failed
// has told, or another each time.
func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(cmp.Or(os.Getenv("SPAWNER_SEED"), strconv.FormatInt(time.Now().UnixNano(), 10)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("SPAWNER_SEED=%d", n)
	return n
}

func TestASpawnerKilledAtAnyMomentOfAnyJobEndsItHonestly(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(seed(t), 0))
	s := stand.Start(t)
	web := s.MockApp("web", "web.test")
	web.Replicas = 2
	s.Deploy(web)
	s.Deploy(withVersion(t, web, 1))
	for n := range kills(t) {
		jobs := map[string]func(context.Context) (fleet.Accepted, error){
			"deploy":   func(context.Context) (fleet.Accepted, error) { return s.StartDeploy(withVersion(t, web, n%2+2)), nil },
			"restart":  func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Restart(ctx, "web") },
			"rollback": func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Rollback(ctx, "web", 0) },
			"scale":    func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Scale(ctx, "web", 1+n%3) },
		}
		verb := []string{"deploy", "restart", "rollback", "scale"}[n%len(jobs)]
		moment := time.Duration(random.IntN(1500)) * time.Millisecond
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
