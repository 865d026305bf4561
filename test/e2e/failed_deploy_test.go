//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// failedStep returns the step that failed a job.
func failedStep(t *testing.T, job fleet.Job) fleet.Step {
	t.Helper()
	if job.State != fleet.JobFailed {
		t.Fatalf("the %s of %s is %s (%s), want failed", job.Kind, job.Service, job.State, job.Error)
	}
	for _, step := range job.Steps {
		if step.State == fleet.JobFailed {
			return step
		}
	}
	t.Fatalf("no step of the failed job has failed: %+v", job.Steps)
	return fleet.Step{}
}

// mustServeRevision fails the test unless a service has exactly so many
// replicas, all ready, all of one revision, and no container beside theirs.
func mustServeRevision(t *testing.T, s *stand.Stand, service string, revision, replicas int) {
	t.Helper()
	if err := servesRevision(s, service, revision, replicas); err != nil {
		t.Fatal(err)
	}
}

func servesRevision(s *stand.Stand, service string, revision, replicas int) error {
	detail := s.Service(service)
	if detail.Revision != revision || detail.Ready() != replicas || len(detail.Detail) != replicas {
		return fmt.Errorf("%s serves revision %d with %d of %d replicas ready, want revision %d with %d: %s",
			service, detail.Revision, detail.Ready(), len(detail.Detail), revision, replicas, detail.Reason)
	}
	for _, replica := range detail.Detail {
		if replica.Revision != revision {
			return fmt.Errorf("%s is of revision %d, want %d", replica.Name, replica.Revision, revision)
		}
	}
	for _, role := range []fleet.Role{fleet.RoleApp, fleet.RoleSandbox} {
		if there := s.Containers(service, string(role)); len(there) != replicas {
			return fmt.Errorf("%s has %d containers of role %s, want %d", service, len(there), role, replicas)
		}
	}
	return nil
}

func TestADeployThatFailsLeavesEveryReplicaOfTheOldRevisionServing(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	good := counted(s, collector, "web", 3)
	good.HealthCheck.Interval, good.HealthCheck.Retries = fleet.Duration(200*time.Millisecond), 2
	good.Wake.MaxWait = fleet.Duration(15 * time.Second) // a start of a slow engine takes less
	s.Deploy(good)
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})
	before := s.Containers("web", "")

	exits := good
	exits.Image = stand.MockAppVariant(t, "e2e-exits", "ENV EXIT=3")
	never := good
	never.Image = stand.MockAppVariant(t, "e2e-never-ready", "ENV READY_DELAY=1h")
	partly := good // the first new replica is in service already when the second one fails
	partly.Image = stand.MockAppVariant(t, "e2e-partly", "ENV EXIT_ON=web-1")
	for _, bad := range []struct {
		spec             fleet.Spec
		replica, because string
	}{{exits, "web-0", "exited with code 3"}, {never, "web-0", "/status answered 503"}, {partly, "web-1", "exited with code 1"}} {
		job, err := s.TryDeploy(bad.spec)
		if err != nil {
			t.Fatal(err)
		}
		step := failedStep(t, job)
		if step.Verb != "start" || step.Replica != bad.replica || !strings.Contains(step.Detail, bad.because) || !strings.Contains(job.Error, bad.because) {
			t.Errorf("the job failed in step %s %s (%s) with %q, want start %s because it %s", step.Verb, step.Replica, step.Detail, job.Error, bad.replica, bad.because)
		}
		mustServeRevision(t, s, "web", 1, 3)
		if after := s.Containers("web", ""); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the old replicas were replaced: %v, before %v", after, before)
		}
	}
	traffic.Stop().MustBeClean(t)
}

func TestACanceledDeployIsTakenBack(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	collector := s.StartCollector()
	good := counted(s, collector, "web", 2)
	s.Deploy(good)
	traffic := s.StartLoad(stand.Load{Host: "web.test", Collector: collector})

	slow := good
	slow.Image = stand.MockAppVariant(t, "e2e-slow", "ENV READY_DELAY=1h")
	for _, at := range []struct {
		spec fleet.Spec
		when string
	}{{slow, "create web-0"}, {withVersion(t, good, 7), "confirm web-0"}, {withVersion(t, good, 8), "stop web-0"}} {
		steps := followSteps(t, s, "web")
		accepted := s.StartDeploy(at.spec)
		steps.await(at.when)
		job := cancelJob(t, s, accepted.JobID)
		if job.State != fleet.JobCanceled || !strings.Contains(job.Error, "canceled") {
			t.Errorf("canceled after %s, the job is %s: %s", at.when, job.State, job.Error)
		}
		mustServeRevision(t, s, "web", 1, 2)
	}
	traffic.Stop().MustBeClean(t)
}

func cancelJob(t *testing.T, s *stand.Stand, id string) fleet.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Client.CancelJob(ctx, id); err != nil {
		t.Fatalf("cannot cancel job %s: %v", id, err)
	}
	return s.WaitJob(id)
}

func withVersion(t *testing.T, spec fleet.Spec, n int) fleet.Spec {
	t.Helper()
	spec.Image = newVersion(t, n)
	return spec
}

// steps are the steps of a service's jobs as they are recorded.
type steps struct {
	t    *testing.T
	seen chan string // closes when the stream ends
}

// followSteps listens from now on.
func followSteps(t *testing.T, s *stand.Stand, service string) *steps {
	t.Helper()
	after := int64(0)
	for _, event := range s.Events("", "") {
		after = max(after, event.ID)
	}
	followed := &steps{t: t, seen: make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		defer close(followed.seen)
		filter := fleet.EventFilter{Service: service, Types: []fleet.EventType{fleet.EventStep}, After: after}
		err := s.Client.FollowEvents(ctx, filter, func(event fleet.Event) error {
			followed.seen <- event.Message
			return nil
		})
		if err != nil && ctx.Err() == nil {
			t.Logf("the stream of events ended: %v", err)
		}
	}()
	return followed
}

// await returns when a step whose message begins so has ended.
func (f *steps) await(prefix string) {
	f.t.Helper()
	late := time.After(time.Minute)
	var seen []string
	for {
		select {
		case message, more := <-f.seen:
			if !more {
				f.t.Fatalf("the stream of events ended before %q; there were %v", prefix, seen)
			}
			if strings.HasPrefix(message, prefix) {
				return
			}
			seen = append(seen, message)
		case <-late:
			f.t.Fatalf("no step %q within a minute; there were %v", prefix, seen)
		}
	}
}
