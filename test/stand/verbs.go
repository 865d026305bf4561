package stand

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// jobTime is how long a job may take before a test gives up on it.
const jobTime = 5 * time.Minute

// callTime bounds a call that is no job.
const callTime = 30 * time.Second

// Deploy deploys and returns the job, which must succeed.
func (s *Stand) Deploy(spec fleet.Spec) fleet.Job {
	s.t.Helper()
	job, err := s.TryDeploy(spec)
	must(s.t, err, "deploy %s", spec.Name)
	return s.succeeded(job)
}

// TryDeploy deploys and returns the job at its end, however it ended; an error
// is the refusal of the deploy itself.
func (s *Stand) TryDeploy(spec fleet.Spec) (fleet.Job, error) {
	return s.finish(func(ctx context.Context) (fleet.Accepted, error) {
		return s.Client.Deploy(ctx, spec, client.DeployOptions{})
	})
}

// StartDeploy asks for a deploy and returns at once; WaitJob tells how it ended.
func (s *Stand) StartDeploy(spec fleet.Spec) fleet.Accepted {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	accepted, err := s.Client.Deploy(ctx, spec, client.DeployOptions{})
	must(s.t, err, "deploy %s", spec.Name)
	return accepted
}

// WaitJob returns a job at its end, however it ended.
func (s *Stand) WaitJob(id string) fleet.Job {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), jobTime)
	defer cancel()
	job, err := s.Client.WaitJob(ctx, id)
	must(s.t, err, "wait for job %s", id)
	return job
}

// DeployJSON deploys a body as it stands and returns the job, which must succeed.
func (s *Stand) DeployJSON(body string) fleet.Job {
	s.t.Helper()
	job, err := s.finish(func(ctx context.Context) (fleet.Accepted, error) {
		return s.Client.DeployBody(ctx, []byte(body), client.DeployOptions{})
	})
	must(s.t, err, "deploy")
	return s.succeeded(job)
}

// Scale sets the number of replicas and waits until it is so.
func (s *Stand) Scale(service string, replicas int) {
	s.t.Helper()
	s.verb("scale "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Scale(ctx, service, replicas) })
}

// Restart restarts a service and waits until that is done.
func (s *Stand) Restart(service string) {
	s.t.Helper()
	s.verb("restart "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Restart(ctx, service) })
}

// Rollback brings a revision back, 0 = the one before, and waits until it serves.
func (s *Stand) Rollback(service string, revision int) {
	s.t.Helper()
	s.verb("rollback "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Rollback(ctx, service, revision) })
}

// Remove removes a service and waits until it is gone.
func (s *Stand) Remove(service string) {
	s.t.Helper()
	s.verb("remove "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Remove(ctx, service) })
}

// Wake wakes a service by command and waits until it serves.
func (s *Stand) Wake(service string) {
	s.t.Helper()
	s.verb("wake "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Wake(ctx, service) })
}

// Sleep puts a service to sleep and waits until it sleeps.
func (s *Stand) Sleep(service string) {
	s.t.Helper()
	s.verb("sleep "+service, func(ctx context.Context) (fleet.Accepted, error) { return s.Client.Sleep(ctx, service) })
}

// Service returns what the API says of a service.
func (s *Stand) Service(name string) fleet.ServiceDetail {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	detail, err := s.Client.Service(ctx, name)
	must(s.t, err, "ask for %s", name)
	return detail
}

// Services returns what the API lists.
func (s *Stand) Services() []fleet.Service {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	services, err := s.Client.Services(ctx)
	must(s.t, err, "list the services")
	return services
}

// Why returns what the API says of why a service is as it is.
func (s *Stand) Why(service string) fleet.Why {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	why, err := s.Client.Why(ctx, service)
	must(s.t, err, "ask why %s is as it is", service)
	return why
}

// WaitReplicas waits until so many replicas of a service serve.
func (s *Stand) WaitReplicas(service string, ready int) {
	s.t.Helper()
	Eventually(s.t, readyTime, fmt.Sprintf("%s has %d ready replicas", service, ready), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		detail, err := s.Client.Service(ctx, service)
		if err != nil {
			return err
		}
		if detail.Ready() != ready {
			return fmt.Errorf("it has %d", detail.Ready())
		}
		return nil
	})
}

// WaitStatus waits until a service has one of the statuses.
func (s *Stand) WaitStatus(service string, within time.Duration, wanted ...fleet.Status) {
	s.t.Helper()
	Eventually(s.t, within, fmt.Sprintf("%s is %v", service, wanted), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		detail, err := s.Client.Service(ctx, service)
		if err != nil {
			return err
		}
		if !slices.Contains(wanted, detail.Status) {
			return fmt.Errorf("it is %s (%s)", detail.Status, detail.Reason)
		}
		return nil
	})
}

// Events returns the recorded events of a service (empty = all) of that type (empty = all).
func (s *Stand) Events(service string, kind fleet.EventType) []fleet.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	filter := fleet.EventFilter{Service: service, Limit: 1000}
	if kind != "" {
		filter.Types = []fleet.EventType{kind}
	}
	events, err := s.Client.Events(ctx, filter)
	must(s.t, err, "read events")
	return events
}

// Wakes returns the events of a service's wakes, one for each that began, once
// one has been told to have ended: events are stored by and by.
func (s *Stand) Wakes(service string) (began []fleet.Event) {
	s.t.Helper()
	Eventually(s.t, callTime, "a wake of "+service+" is told", func() error {
		events := s.Events(service, fleet.EventWake)
		if !slices.ContainsFunc(events, func(e fleet.Event) bool { return strings.HasPrefix(e.Message, service+" is awake after") }) {
			return fmt.Errorf("its wakes: %v", events)
		}
		began = slices.DeleteFunc(events, func(e fleet.Event) bool { return !strings.HasPrefix(e.Message, "Waking ") })
		return nil
	})
	return began
}

// verb calls one that becomes a job and waits until that has succeeded.
func (s *Stand) verb(what string, call func(context.Context) (fleet.Accepted, error)) {
	s.t.Helper()
	job, err := s.finish(call)
	must(s.t, err, "%s", what)
	s.succeeded(job)
}

// finish calls a verb and follows its job to the end. Where nothing had to be
// done there is no job: one that has succeeded without steps stands for it.
func (s *Stand) finish(call func(context.Context) (fleet.Accepted, error)) (fleet.Job, error) {
	ctx, cancel := context.WithTimeout(context.Background(), jobTime)
	defer cancel()
	accepted, err := call(ctx)
	if err != nil {
		return fleet.Job{}, err
	}
	if accepted.JobID == "" {
		return fleet.Job{Service: accepted.Service, Revision: accepted.Revision, State: fleet.JobSucceeded}, nil
	}
	return s.Client.WaitJob(ctx, accepted.JobID)
}

// succeeded fails the test unless the job ended well.
func (s *Stand) succeeded(job fleet.Job) fleet.Job {
	s.t.Helper()
	if job.State == fleet.JobSucceeded {
		return job
	}
	for _, step := range job.Steps {
		s.t.Logf("step %s %s %s: %s", step.Verb, step.Replica, step.State, step.Detail)
	}
	s.t.Fatalf("the %s of %s is %s: %s", job.Kind, job.Service, job.State, job.Error)
	return job
}
