package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// revisions are the revisions of the apps that run, by container name.
func (w *world) revisions(service string) map[string]string {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	found := map[string]string{}
	for _, b := range w.docker.boxes {
		if b.joined != nil && b.config.Labels[fleet.LabelService] == service && b.status == fleet.ContainerRunning {
			found[b.name] = b.config.Labels[fleet.LabelRevision]
		}
	}
	return found
}

// settledOn fails unless exactly n replicas of one revision run and are
// published, and nothing else is left of the service.
func (w *world) settledOn(service string, revision, n int) {
	w.t.Helper()
	holds := func() string { return w.unsettled(service, revision, n) }
	deadline := time.Now().Add(patience)
	for why := holds(); why != ""; why = holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s does not settle on %d replicas of revision %d: %s\n%s", service, n, revision, why, w.picture())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *world) unsettled(service string, revision, n int) string {
	running := w.revisions(service)
	if len(running) != n {
		return fmt.Sprintf("%d apps run", len(running))
	}
	for name, of := range running {
		if of != fmt.Sprint(revision) {
			return fmt.Sprintf("%s is of revision %s", name, of)
		}
	}
	if endpoints := w.endpoints(service); len(endpoints) != n {
		return fmt.Sprintf("%d endpoints are published", len(endpoints))
	}
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	of := 0
	for _, b := range w.docker.boxes {
		if b.config.Labels[fleet.LabelService] == service {
			of++
		}
	}
	if of != 2*n {
		return fmt.Sprintf("%d containers are left of it", of)
	}
	return ""
}

// watchEdge fails the test when a snapshot after the first ready one names no
// endpoint of the service, or one at which no ready app answers.
func (w *world) watchEdge(service string, least int) {
	w.edge.set(func() {
		w.edge.seen = func(s *fleet.Snapshot) {
			routed, ok := s.Find(service)
			if !ok || len(routed.Endpoints) < least {
				w.t.Errorf("snapshot %d has fewer than %d endpoints of %s: %+v", s.Version, least, service, routed)
				return
			}
			w.docker.mu.Lock()
			defer w.docker.mu.Unlock()
			for _, endpoint := range routed.Endpoints {
				if w.cluster.answering(endpoint.Addr.Addr()) == nil {
					w.t.Errorf("snapshot %d leads %s to %v, where nothing answers", s.Version, service, endpoint)
				}
			}
		}
	})
}

// traffic sends requests of a service, one every step, until stop is called,
// which waits for the last of them; each must be answered by the service itself.
func (w *world) traffic(service string, step, takes time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		open := make(chan struct{}, 10000)
		sent := 0
		for ctx.Err() == nil {
			sent++
			go func() {
				if _, err := w.request(service, takes); err != nil {
					w.t.Errorf("a request failed: %v", err)
				}
				open <- struct{}{}
			}()
			time.Sleep(step)
		}
		for range sent {
			<-open
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func TestAFirstDeployEndsAwakeAndPublished(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		if status := w.status("web"); status != fleet.StatusRunning {
			t.Errorf("status %s", status)
		}
		w.settledOn("web", 1, 3)
		service, err := w.engine().Service("web")
		if err != nil || service.Ready() != 3 || service.Revision != 1 || service.Health != fleet.Healthy {
			t.Errorf("%+v, %v", service, err)
		}
	})
}

func TestAnUnchangedDeployChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		before, calls := w.containers(), len(w.docker.calls)
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 2), "tester", false)
		if err != nil || !accepted.Unchanged || accepted.JobID != "" || accepted.Revision != 1 {
			t.Fatalf("%+v, %v", accepted, err)
		}
		if !slices.Equal(before, w.containers()) {
			t.Error("containers changed")
		}
		for _, call := range w.docker.calls[calls:] {
			if !strings.HasPrefix(call, "image") {
				t.Errorf("called %s", call)
			}
		}
		plan, err := w.engine().Plan(w.ctx, w.spec("web", "app:1", 2), false)
		if err != nil || !plan.Unchanged || len(plan.Steps) != 0 {
			t.Errorf("plan %+v, %v", plan, err)
		}
	})
}

func TestADeployByForceReplacesWhatIsRight(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.succeeded(w.engine().Deploy(w.ctx, w.spec("web", "app:1", 2), "tester", true))
		w.settledOn("web", 2, 2)
	})
}

func TestADryRunSaysTheStepsAndChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		plan, err := w.engine().Plan(w.ctx, w.spec("web", "app:1", 2), false)
		if err != nil || plan.Revision != 1 || len(plan.Steps) != 8 {
			t.Errorf("%+v, %v", plan, err)
		}
		if len(w.containers()) != 0 || len(w.engine().Services()) != 0 {
			t.Error("something changed")
		}
	})
}

func TestADryRunPlacesEveryReplicaAsTheDeployDoes(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 2)
		spec.Placement.AntiAffinity = "node"
		plan, err := w.engine().Plan(w.ctx, spec, false)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, step := range plan.Steps {
			if step.Verb == "create" {
				told = append(told, step.Replica+" "+step.Detail)
			}
		}
		if !slices.Equal(told, []string{"web-0 on node a", "web-1 on node b"}) {
			t.Errorf("planned: %v", told)
		}
		w.deployed(spec)
		spec.Replicas = 3
		_, err = w.engine().Plan(w.ctx, spec, false)
		job := w.deploy(spec)
		if err == nil || job.State != fleet.JobFailed || err.Error() != job.Error {
			t.Errorf("a third: the plan says %v, the deploy %s", err, job.Error)
		}
		wide := withMemory(w.spec("wide", "app:1", 3), 3000)
		if _, err := w.engine().Plan(w.ctx, wide, false); err == nil || !strings.Contains(err.Error(), "MB short") {
			t.Errorf("three of 3000 MB on two nodes of 4096 MB: %v", err)
		}
		if got := w.engine().ledger.count(); got["a"]+got["b"] != 2 {
			t.Errorf("plans hold places: %v", got)
		}
	})
}

func TestARollingUpdateAlwaysServesFromAReadyReplica(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.behave("app:2", behaviour{readyAfter: 3 * time.Second, stopTakes: 2 * time.Second})
				w.deployed(w.spec("web", "app:1", replicas))
				w.watchEdge("web", replicas)
				stop := w.traffic("web", 50*time.Millisecond, time.Second)
				w.deployed(w.spec("web", "app:2", replicas))
				stop()
				w.settledOn("web", 2, replicas)
			})
		})
	}
}

func TestAFailedUpdateLeavesTheOldRevisionOnEveryReplica(t *testing.T) {
	for name, bad := range map[string]behaviour{
		"exits at once":     {exits: true, exitCode: 3},
		"never ready":       {never: true},
		"cannot be started": {startError: fleet.Errorf(fleet.Invalid, "failed to create shim task")},
		"engine error":      {startError: fleet.Errorf(fleet.Unavailable, "the engine does not answer")},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 3))
				w.behaveAs("web-1.r2", bad)
				w.watchEdge("web", 3)
				stop := w.traffic("web", 50*time.Millisecond, 300*time.Millisecond)
				job := w.deploy(w.spec("web", "app:2", 3))
				stop()
				if job.State != fleet.JobFailed || job.Error == "" {
					t.Errorf("the deploy %s: %q", job.State, job.Error)
				}
				w.settledOn("web", 1, 3)
				if status := w.status("web"); status != fleet.StatusRunning {
					t.Errorf("status %s", status)
				}
				revisions, err := w.engine().Revisions(w.ctx, "web")
				if err != nil || revisions[0].Outcome != fleet.OutcomeFailed || revisions[1].Outcome != fleet.OutcomeSucceeded {
					t.Errorf("%+v, %v", revisions, err)
				}
				w.edge.set(func() { w.edge.seen = nil })
				w.behaveAs("web-1.r2", behaviour{})
				w.deployed(w.spec("web", "app:2", 3)) // and nothing of it is in the way of the next
				w.settledOn("web", 3, 3)
			})
		})
	}
}

func TestANewReplicaThatEndsBeforeItServesFailsTheUpdate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.edge.set(func() { w.edge.delay = 300 * time.Millisecond })
		w.behave("app:2", behaviour{exits: true, exitAfter: time.Millisecond, exitCode: 1})
		w.watchEdge("web", 1)
		if job := w.deploy(w.spec("web", "app:2", 1)); job.State != fleet.JobFailed {
			t.Errorf("the deploy %s", job.State)
		}
		w.edge.set(func() { w.edge.seen = nil })
		w.settledOn("web", 1, 1)
	})
}

func TestAFirstDeployWhoseAppCrashesFailsHonestly(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.behave("app:1", behaviour{readyAfter: 3 * time.Second, exits: true, exitAfter: after, exitCode: 1})
				asked := make(chan error, 1)
				go func() {
					w.until("it is known", func() bool { return w.status("web") != "" })
					_, err := w.request("web", 0)
					asked <- err
				}()
				if job := w.deploy(w.spec("web", "app:1", 1)); job.State != fleet.JobFailed {
					t.Errorf("the deploy %s", job.State)
				}
				if err := <-asked; fleet.KindOf(err) != fleet.Unavailable && fleet.KindOf(err) != fleet.BadGateway {
					t.Errorf("a request during it was answered %v", err)
				}
				w.untilStatus("web", fleet.StatusFailed)
				if left := w.containers(); len(left) != 0 {
					t.Errorf("left over: %v", left)
				}
				w.restart()
				w.untilStatus("web", fleet.StatusFailed)
				w.behave("app:1", behaviour{})
				w.deployed(w.spec("web", "app:1", 1))
				w.settledOn("web", 2, 1)
			})
		})
	}
}

func TestAnAppThatEndsDuringItsFirstDeployIsRestarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behaveAs("web-0", behaviour{exits: true, exitAfter: time.Second, exitCode: 1})
		w.behaveAs("web-1", behaviour{readyAfter: 3 * time.Second})
		go func() {
			time.Sleep(1500 * time.Millisecond)
			if _, err := w.engine().Why("web"); err != nil {
				t.Errorf("Why: %v", err)
			}
			w.behaveAs("web-0", behaviour{})
		}()
		w.deployed(w.spec("web", "app:1", 2))
		w.settledOn("web", 1, 2)
	})
}

func TestCancelTakesBackWhatADeployHasDone(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 30 * time.Millisecond, 70 * time.Millisecond, 150 * time.Millisecond, 250 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 3))
				w.watchEdge("web", 3)
				accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 3), "tester", false)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(after)
				job, err := w.engine().CancelJob(w.ctx, accepted.JobID, "somebody")
				if err != nil || job.State != fleet.JobCanceled || !strings.Contains(job.Error, "canceled by somebody") {
					t.Errorf("%+v, %v", job, err)
				}
				w.settledOn("web", 1, 3)
				if _, err := w.engine().CancelJob(w.ctx, accepted.JobID, "somebody"); fleet.KindOf(err) != fleet.Conflict {
					t.Errorf("canceled twice: %v", err)
				}
			})
		})
	}
}

func TestRollbackBringsTheLastGoodRevisionBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		if _, err := w.engine().Rollback(w.ctx, "web", 0, "tester"); fleet.KindOf(err) != fleet.Conflict {
			t.Errorf("there is nothing to go back to: %v", err)
		}
		w.deployed(w.spec("web", "app:2", 2))
		w.behave("app:3", behaviour{exits: true, exitCode: 1})
		w.deploy(w.spec("web", "app:3", 2))
		w.succeeded(w.engine().Rollback(w.ctx, "web", 0, "tester"))
		w.settledOn("web", 4, 2)
		if spec, err := w.engine().Spec(w.ctx, "web"); err != nil || spec.Image != "app:1" {
			t.Errorf("%s, %v", spec.Image, err)
		}
		w.succeeded(w.engine().Rollback(w.ctx, "web", 2, "tester"))
		w.settledOn("web", 5, 2)
		if _, err := w.engine().Rollback(w.ctx, "web", 77, "tester"); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("revision 77: %v", err)
		}
		if _, err := w.engine().Rollback(w.ctx, "nobody", 0, "tester"); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("an unknown service: %v", err)
		}
	})
}

func TestStopFirstNeverRunsTwoAppsOfAnIndex(t *testing.T) {
	for name, bad := range map[string]bool{"succeeds": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				spec.Update.Order = fleet.StopFirst
				w.deployed(spec)
				most := 0
				w.flaw(func(verb, name string) error {
					count := map[string]int{}
					for _, b := range w.docker.boxes {
						if b.joined != nil && (b.status == fleet.ContainerRunning || b.starting != nil) {
							count[b.config.Labels[fleet.LabelIndex]]++
							most = max(most, count[b.config.Labels[fleet.LabelIndex]])
						}
					}
					return nil
				})
				if bad {
					w.behaveAs("web-1.r2", behaviour{exits: true, exitCode: 1})
				}
				stop := w.traffic("web", 50*time.Millisecond, 100*time.Millisecond)
				spec.Image = "app:2"
				job := w.deploy(spec)
				stop()
				if bad != (job.State == fleet.JobFailed) {
					t.Errorf("the deploy %s", job.State)
				}
				if bad {
					w.settledOn("web", 1, 2)
				} else {
					w.settledOn("web", 2, 2)
				}
				if most > 1 {
					t.Errorf("%d apps of one index ran at a time", most)
				}
			})
		})
	}
}

func TestAHostPortStaysWithItsSandboxInAnUpdate(t *testing.T) {
	for name, bad := range map[string]bool{"succeeds": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 2)
				spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
				w.deployed(spec)
				sandbox := w.sandboxOf("web-0")
				if bad {
					w.behaveAs("web-0.r2", behaviour{never: true})
				}
				stop := w.traffic("web", 50*time.Millisecond, 100*time.Millisecond)
				spec.Image = "app:2"
				job := w.deploy(spec)
				stop()
				revision := 2
				if bad {
					revision = 1
				}
				if bad != (job.State == fleet.JobFailed) {
					t.Errorf("the deploy %s", job.State)
				}
				w.settledOn("web", revision, 2)
				detail, err := w.engine().Service("web")
				if err != nil || detail.Detail[0].SandboxID != sandbox || len(detail.Detail[0].Published) != 1 || len(detail.Detail[1].Published) != 0 {
					t.Errorf("%+v, %v; the sandbox was %s", detail.Detail, err, sandbox)
				}
			})
		})
	}
}

func (w *world) sandboxOf(replica string) string {
	detail, err := w.engine().Service(replica[:strings.LastIndex(replica, "-")])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range detail.Detail {
		if d.Name == replica {
			return d.SandboxID
		}
	}
	return ""
}

func TestAnotherHostPortMovesToANewSandboxAndBack(t *testing.T) {
	for name, bad := range map[string]bool{"succeeds": false, "fails later": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}, {ContainerPort: 8081, HostPort: 81}}
				w.deployed(spec)
				if bad { // the new one is up and on the edge when the edge refuses
					w.flaw(func(verb, name string) error {
						if verb == "start" && name == "web-0.r2" {
							w.edge.refuse = errors.New("a document was refused")
							time.AfterFunc(5*time.Second, func() { w.edge.set(func() { w.edge.refuse = nil }) })
						}
						return nil
					})
				}
				spec.Ports = spec.Ports[:1]
				job := w.deploy(spec)
				if bad != (job.State == fleet.JobFailed) {
					t.Errorf("the deploy %s: %s", job.State, job.Error)
				}
				if bad {
					w.settledOn("web", 1, 1)
				} else {
					w.settledOn("web", 2, 1)
				}
			})
		})
	}
}

func TestADeployOfADirectInstanceKeepsItsExactName(t *testing.T) {
	for name, bad := range map[string]bool{"succeeds": false, "fails": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				spec := w.spec("web", "app:1", 1)
				spec.Direct = true
				w.deployed(spec)
				if bad {
					w.behave("app:2", behaviour{exits: true, exitCode: 1})
				}
				spec.Image = "app:2"
				job := w.deploy(spec)
				if bad != (job.State == fleet.JobFailed) || len(job.Warnings) != 0 {
					t.Errorf("the deploy %s: %s %v", job.State, job.Error, job.Warnings)
				}
				revision := 2
				if bad {
					revision = 1
				}
				w.settledOn("web", revision, 1)
				if _, named := w.revisions("web")["web"]; !named {
					t.Errorf("named %v", w.revisions("web"))
				}
				w.behave("app:2", behaviour{})
				spec.Image = "app:3"
				w.deployed(spec)
				w.succeeded(w.engine().Remove(w.ctx, "web", "tester"))
				if left := w.containers(); len(left) != 0 {
					t.Errorf("left over: %v", left)
				}
			})
		})
	}
}

func TestADeployOfAFailedServiceRevivesIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.behave("app:1", behaviour{exits: true, exitCode: 1})
		w.crash("web-0", 1)
		w.untilStatus("web", fleet.StatusFailed)
		w.behave("app:1", behaviour{})
		w.deployed(w.spec("web", "app:1", 1)) // the same spec: but it does not serve
		w.settledOn("web", 1, 1)              // its container is right as it is
		if status := w.status("web"); status != fleet.StatusRunning {
			t.Errorf("status %s", status)
		}
	})
}

func TestADeployRefusesWhatClashesWithOthersAndChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		web := w.spec("web", "app:1", 1)
		web.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		w.deployed(web)
		for field, spec := range map[string]fleet.Spec{
			"name":               w.spec("web-0", "app:1", 1),
			"ports[0].host_port": func() fleet.Spec { s := w.spec("api", "app:1", 1); s.Ports = web.Ports; return s }(),
			"route.hosts[0]":     func() fleet.Spec { s := w.spec("api", "app:1", 1); s.Route = web.Route; return s }(),
			"image":              w.spec("api", "nothing:1", 1),
			"replicas":           w.spec("api", "app:1", -1),
		} {
			_, err := w.engine().Deploy(w.ctx, spec, "tester", false)
			var e *fleet.Error
			if !errors.As(err, &e) || e.Field != field {
				t.Errorf("%s: %v", field, err)
			}
		}
		if services := w.engine().Services(); len(services) != 1 {
			t.Errorf("%+v", services)
		}
	})
}
