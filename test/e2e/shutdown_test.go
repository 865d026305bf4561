//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// stopping deploys a service whose app takes so long to stop, and a change of
// it, and returns when the old app is being stopped.
func stopping(t *testing.T, s *stand.Stand, takes time.Duration) (old string, job fleet.Accepted) {
	t.Helper()
	web := withEnv(s.MockApp("web", "web.test"), "STOP_DELAY", takes.String())
	web.StopGrace = fleet.Duration(takes + 5*time.Second)
	s.Deploy(web)
	old = s.AppOf("web", 0)
	steps := followSteps(t, s, "web")
	job = s.StartDeploy(withVersion(t, web, 1))
	steps.await("drain web-0")
	return old, job
}

func TestADeployIsParkedWhenTheSpawnerIsToldToEndAndGoesOnAtItsNextStart(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--shutdown-timeout=30s"))
	old, accepted := stopping(t, s, 6*time.Second)
	began := time.Now()
	if code := s.Spawner.Stop(); code != 0 {
		t.Errorf("it ended with code %d:\n%s", code, s.Spawner.LogTail(10))
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it ended after %s", took)
	}
	if state := stand.StateOf(t, old); state != "exited" {
		t.Errorf("the step that stopped the old app was not brought to its end: it is %s", state)
	}
	before := s.Listing()
	stand.Always(t, 2*time.Second, "nothing goes on", func() error {
		if now := s.Listing(); now != before {
			return fmt.Errorf("there was\n%s\nand is\n%s", before, now)
		}
		return nil
	})
	if job := mustRecover(t, s, "web", accepted.JobID); job.State != fleet.JobSucceeded {
		t.Errorf("the deploy is %s: %s", job.State, job.Error)
	}
	mustServeRevision(t, s, "web", accepted.Revision, 1)
}

func TestASecondSignalEndsTheSpawnerAtOnce(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.WithFlags("--shutdown-timeout=1m"))
	_, accepted := stopping(t, s, 10*time.Second)
	s.Spawner.Signal(syscall.SIGTERM)
	stand.Always(t, 2*time.Second, "it lets the step come to its end", func() error {
		if !s.Spawner.Running() {
			return errors.New("it has ended")
		}
		return nil
	})
	s.Spawner.Signal(syscall.SIGTERM)
	stand.Eventually(t, 4*time.Second, "it has ended", func() error {
		if s.Spawner.Running() {
			return errors.New("it runs")
		}
		return nil
	})
	s.Spawner.Kill() // it is gone; the stand learns so
	if job := mustRecover(t, s, "web", accepted.JobID); job.State != fleet.JobSucceeded {
		t.Errorf("the deploy is %s: %s", job.State, job.Error)
	}
	mustServeRevision(t, s, "web", accepted.Revision, 1)
}
