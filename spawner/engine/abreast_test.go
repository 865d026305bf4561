package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// slowly is an app that is ready 5 s after its start.
var slowly = behaviour{readyAfter: 5 * time.Second}

// overThree runs a test over three nodes, on each of which one app starts at a time.
func overThree(t *testing.T, test func(w *world)) {
	t.Helper()
	synctestWorld(t, func(w *world) {
		w.config.MaxStarts = 1
		w.docker.node.Name = "a"
		w.cluster.add("b")
		w.cluster.add("c")
	}, test)
}

// calls are those that changed something, on all nodes.
func (w *world) calls() []string {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	var calls []string
	for _, d := range w.cluster.nodes {
		calls = append(calls, d.calls...)
	}
	return calls
}

// servesFrom fails unless the edges are told of exactly the first replicas, and nothing else is left.
func (w *world) servesFrom(n int) {
	w.t.Helper()
	w.until("nothing else is left", func() bool { return len(w.containers()) == 2*n })
	for index, e := range w.endpoints("web") {
		if e.Replica != fleet.ReplicaName("web", index) {
			w.t.Errorf("no. %d is %s", index, e.Replica)
		}
	}
	if len(w.endpoints("web")) != n {
		w.t.Errorf("not %d\n%s", n, w.picture())
	}
}

// takes fails unless what a job does takes that long.
func (w *world) takes(want time.Duration, job func() fleet.Job) {
	w.t.Helper()
	began := time.Now()
	if job := job(); job.State != fleet.JobSucceeded {
		w.t.Fatalf("the job %s: %s\n%s", job.State, job.Error, describeSteps(job))
	}
	if took := time.Since(began); took < want || took > want+3*time.Second {
		w.t.Errorf("it took %s, not about %s", took, want)
	}
}

func TestReplicasAreAddedSideBySideOnDifferentNodesAfterTheFirst(t *testing.T) {
	overThree(t, func(w *world) {
		w.behave("app:1", slowly)
		w.takes(15*time.Second, func() fleet.Job { return w.deploy(w.spec("web", "app:1", 7)) }) // one, two times three
		if got := fmt.Sprint(w.spread("web")); got != "map[a:3 b:2 c:2]" {
			t.Errorf("web stands on %s", got)
		}
		w.takes(5*time.Second, func() fleet.Job { return w.done(w.engine().Scale(w.ctx, "web", 9, "tester")) })
		if len(w.endpoints("web")) != 9 {
			t.Error(w.picture())
		}
	})
}

func TestAsManyReplicasAreAddedAtATimeOnANodeAsItStartsApps(t *testing.T) {
	synctestWorld(t, func(w *world) { w.config.MaxStarts = 3 }, func(w *world) {
		w.behave("app:1", slowly)
		w.takes(15*time.Second, func() fleet.Job { return w.deploy(w.spec("web", "app:1", 7)) })
	})
}

func TestReplicasAreTakenAwaySideBySide(t *testing.T) {
	overThree(t, func(w *world) {
		w.behave("app:1", behaviour{stopTakes: 5 * time.Second})
		w.deployed(w.spec("web", "app:1", 9))
		w.takes(10*time.Second, func() fleet.Job { return w.done(w.engine().Scale(w.ctx, "web", 3, "tester")) })
		if got := fmt.Sprint(w.spread("web")); got != "map[a:1 b:1 c:1]" {
			t.Errorf("web stands on %s", got)
		}
		w.takes(5*time.Second, func() fleet.Job { return w.done(w.engine().Remove(w.ctx, "web", "tester")) })
		if left := w.containers(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestAnUpdateReplacesOneReplicaAfterAnother(t *testing.T) {
	overThree(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.behave("app:2", slowly)
		w.takes(15*time.Second, func() fleet.Job { return w.deploy(w.spec("web", "app:2", 3)) })
	})
}

func TestAnAppThatDoesNotStartIsTriedOnceBeforeTheOthersAreMade(t *testing.T) {
	overThree(t, func(w *world) {
		w.behave("app:1", behaviour{exits: true, exitCode: 1})
		if job := w.deploy(w.spec("web", "app:1", 9)); job.State != fleet.JobFailed {
			t.Errorf("the deploy %s", job.State)
		}
		var made []string
		for _, call := range w.calls() {
			if strings.HasPrefix(call, "create web-") && !strings.HasSuffix(call, ".net") {
				made = append(made, call)
			}
		}
		if len(made) != 1 {
			t.Errorf("made: %v", made)
		}
		if left := w.containers(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestAfterOneThatFailedNoOtherIsBegunAndThoseUnderWayAreTakenBack(t *testing.T) {
	overThree(t, func(w *world) {
		w.behave("app:1", slowly)
		w.deployed(w.spec("web", "app:1", 3))
		for _, name := range []string{"web-4", "web-4.2"} {
			w.behaveAs(name, behaviour{readyAfter: 10 * time.Second, exits: true, exitAfter: time.Second, exitCode: 1})
		}
		job := w.done(w.engine().Scale(w.ctx, "web", 12, "tester"))
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, "web-4") {
			t.Errorf("the scale %s: %s", job.State, job.Error)
		}
		if slices.ContainsFunc(job.Steps, func(s fleet.Step) bool { return s.Replica == "web-6" }) {
			t.Errorf("web-6 was begun\n%s", describeSteps(job))
		}
		w.servesFrom(3)
	})
}

func TestThoseUnderWayAreLetGoWhenAnotherHasFailed(t *testing.T) {
	overThree(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.behave("app:1", behaviour{readyAfter: 50 * time.Second})
		for _, name := range []string{"web-4", "web-4.2"} {
			w.behaveAs(name, behaviour{readyAfter: 50 * time.Second, exits: true, exitAfter: time.Second, exitCode: 1})
		}
		began := time.Now()
		job := w.done(w.engine().Scale(w.ctx, "web", 12, "tester"))
		if took := time.Since(began); job.State != fleet.JobFailed || !strings.Contains(job.Error, "web-4") || took > 10*time.Second {
			t.Errorf("the scale %s after %s: %s\n%s", job.State, took, job.Error, describeSteps(job))
		}
		w.servesFrom(3)
	})
}

func TestWhatWasTakenAwaySideBySideComesBackSo(t *testing.T) {
	overThree(t, func(w *world) {
		w.behave("app:1", behaviour{readyAfter: 5 * time.Second})
		w.deployed(w.spec("web", "app:1", 9))
		w.edge.set(func() { w.edge.delay = 2 * time.Second })
		accepted, err := w.engine().Scale(w.ctx, "web", 3, "tester")
		if err != nil {
			t.Fatal(err)
		}
		w.until("six are being taken away", func() bool { return len(w.endpoints("web")) <= 6 })
		w.edge.set(func() { w.edge.delay = 0 })
		if _, err := w.engine().CancelJob(w.ctx, accepted.JobID, "tester"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if job := w.wait(accepted); job.State != fleet.JobCanceled {
			t.Errorf("the scale %s", job.State)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("they were back after %s", took)
		}
		w.servesFrom(9)
	})
}

// onlyOnFirst leaves an image to the first node alone.
func (w *world) onlyOnFirst(ref, digest string, bringTakes time.Duration) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.cluster.bringTakes = bringTakes
	image := w.docker.images[ref]
	image.Digest = digest
	w.docker.images[ref], w.docker.images[image.ID] = image, image
	for _, d := range w.cluster.nodes[1:] {
		delete(d.images, ref)
		delete(d.images, image.ID)
	}
}

func TestAnImageIsNotWaitedForOnANodeThatFallsSilent(t *testing.T) {
	overThree(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.onlyOnFirst("app:2", "", 3*time.Minute)
		accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:2", 3), "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.on("b").silence(true)
		began := time.Now()
		job := w.wait(accepted)
		if took := time.Since(began); job.State != fleet.JobSucceeded || took > 4*time.Minute { // the image goes to c alone
			t.Errorf("the deploy %s after %s: %s", job.State, took, job.Error)
		}
		w.untilServing("web", 3)
		if w.spread("web")["b"] != 0 {
			t.Errorf("web stands on %v", w.spread("web"))
		}
	})
}

func TestAnImageThatNoRegistryHasGoesToOneNodeAfterAnother(t *testing.T) {
	for digest, want := range map[string]int{"": 1, "app@sha256:1": 2} {
		t.Run(digest, func(t *testing.T) {
			overNodes(t, []string{"a", "b", "c"}, func(w *world) { // of two cores each
				w.onlyOnFirst("app:1", digest, time.Minute)
				w.deployed(w.spec("web", "app:1", 6))
				w.cluster.mu.Lock()
				defer w.cluster.mu.Unlock()
				if last := fmt.Sprintf("%d at a time", want); len(w.cluster.brought) != 2 || !strings.HasSuffix(w.cluster.brought[1], last) {
					t.Errorf("brought: %v, and not %s", w.cluster.brought, last)
				}
			})
		})
	}
}

func TestAJobIsParkedWhenAllThatItDoesSideBySideHasEnded(t *testing.T) {
	overThree(t, func(w *world) {
		for index, takes := range []time.Duration{1, 1, 1, 1, 1, 1, 2, 8, 5, 1, 1, 1} {
			w.behaveAs(fleet.ReplicaName("web", index), behaviour{stopTakes: takes * time.Second})
		}
		w.deployed(w.spec("web", "app:1", 12))
		accepted, err := w.engine().Scale(w.ctx, "web", 3, "tester")
		if err != nil {
			t.Fatal(err)
		}
		w.until("web-7 is being stopped", func() bool {
			job, err := w.engine().Job(w.ctx, accepted.JobID)
			return err == nil && slices.ContainsFunc(job.Steps, func(s fleet.Step) bool {
				return s.Verb == "stop" && s.Replica == "web-7" && s.State == fleet.JobRunning
			})
		})
		if took := w.parked(); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("parked after %s, and a step takes 8 s", took)
		}
		w.withoutCalls(func() { time.Sleep(time.Minute) })
		w.restart()
		if job := w.wait(accepted); job.State != fleet.JobSucceeded {
			t.Errorf("%s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		w.servesFrom(3)
	})
}
