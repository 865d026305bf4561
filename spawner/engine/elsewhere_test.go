package engine

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgespawner/fleet"
)

// fill lets nothing be made on a node, and counts what was tried.
func (d *fakeDocker) fill(tries *atomic.Int64) {
	d.refuse(tries, fleet.Errorf(fleet.Internal, "the engine says: write /x: no space left on device"))
}

// refuse lets whatever is to be made on a node fail, and counts what was tried.
func (d *fakeDocker) refuse(tries *atomic.Int64, err error) {
	d.flaw(func(verb, _ string) error {
		if verb != "create" {
			return nil
		}
		tries.Add(1)
		return err
	})
}

func TestADeployGoesRoundANodeThatIsLostMeanwhile(t *testing.T) {
	for _, dark := range []bool{true, false} {
		overThree(t, func(w *world) {
			w.behave("app:1", behaviour{readyAfter: 10 * time.Second})
			accepted, err := w.engine().Deploy(w.ctx, w.spec("web", "app:1", 9), "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second) // the first is up, others are on their way
			w.on("b").silence(dark)
			began := time.Now()
			if job := w.wait(accepted); job.State != fleet.JobSucceeded || time.Since(began) > 90*time.Second {
				t.Errorf("dark %t: the deploy %s after %s: %s", dark, job.State, time.Since(began), job.Error)
			}
			if dark {
				w.untilServing("web", 9)
				if w.spread("web")["b"] != 0 {
					t.Errorf("web stands on %v", w.spread("web"))
				}
			}
			w.on("b").speak()
			w.untilNode("b", fleet.NodeReady)
			time.Sleep(time.Minute)
			w.servesFrom(9)
		})
	}
}

func TestAChangeOfAServiceIsNotHeldUpByANodeThatWasJustLost(t *testing.T) {
	for what, change := range map[string]func(w *world) (fleet.Accepted, error){
		"scale up":   func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 6, "tester") },
		"scale down": func(w *world) (fleet.Accepted, error) { return w.engine().Scale(w.ctx, "web", 2, "tester") },
		"deploy": func(w *world) (fleet.Accepted, error) {
			return w.engine().Deploy(w.ctx, w.spec("web", "app:2", 3), "tester", false)
		},
	} {
		t.Run(what, func(t *testing.T) {
			overThree(t, func(w *world) {
				w.deployed(w.spec("web", "app:1", 3))
				w.deployed(w.spec("other", "app:1", 3))
				w.on("c").silence(true)
				began := time.Now()
				accepted, err := change(w)
				if err != nil {
					t.Fatal(err)
				}
				if job := w.wait(accepted); job.State != fleet.JobSucceeded || time.Since(began) > 30*time.Second {
					t.Errorf("the job %s after %s: %s\n%s", job.State, time.Since(began), job.Error, describeSteps(job))
				}
				w.untilServing("other", 3)
				w.until("web is whole, and not on c", func() bool {
					service, err := w.engine().Service("web")
					return err == nil && len(w.endpoints("web")) == service.Replicas && w.spread("web")["c"] == 0
				})
				if took := time.Since(began); took > 40*time.Second {
					t.Errorf("web was whole after %s", took)
				}
			})
		})
	}
}

func TestANodeWithoutSpaceOnItsDiskGetsNothingNewForAWhile(t *testing.T) {
	overThree(t, func(w *world) {
		var tries atomic.Int64
		w.on("b").fill(&tries)
		w.deployed(w.spec("web", "app:1", 6))
		if w.spread("web")["b"] != 0 || tries.Load() == 0 {
			t.Errorf("web stands on %v, after %d tries on b", w.spread("web"), tries.Load())
		}
		if nodes, err := w.engine().Nodes(w.ctx); err != nil || nodes[1].Note != "gets nothing new for a while: its disk is full" {
			t.Errorf("the nodes are %+v, %v", nodes, err)
		}
		before := tries.Load()
		w.deployed(w.spec("next", "app:1", 3))
		if now := tries.Load(); now != before {
			t.Errorf("b was tried %d times although its disk is known to be full", now-before)
		}
		pinned := w.spec("pinned", "app:1", 1)
		pinned.Placement.Constraints = []fleet.Constraint{"node==b"}
		if job := w.done(w.engine().Deploy(w.ctx, pinned, "tester", false)); job.State != fleet.JobFailed || !strings.Contains(job.Error, noSpace) {
			t.Errorf("what can only be there: %s %s", job.State, job.Error)
		}
		w.on("b").flaw(nil)
		w.deployed(pinned) // what can only be there need not wait
		w.deployed(w.spec("soon", "app:1", 2))
		time.Sleep(fullPause)
		w.deployed(w.spec("later", "app:1", 3))
		if w.spread("soon")["b"] != 0 || w.spread("later")["b"] == 0 {
			t.Errorf("soon stands on %v, later on %v", w.spread("soon"), w.spread("later"))
		}
	})
}

// TestAnUpdateGoesToNoNodeThatHasRoomOnlyWhenTheOldReplicaHasGone: b, where it
// was placed, is full, and on a there is no room for both.
func TestAnUpdateGoesToNoNodeThatHasRoomOnlyWhenTheOldReplicaHasGone(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Resources.MemoryMB = 3000
		spec.Placement.Constraints = []fleet.Constraint{"node==a"}
		w.deployed(spec)
		spec.Image, spec.Placement.Constraints = "app:2", nil
		var tries atomic.Int64
		w.on("b").fill(&tries)
		job := w.deploy(spec)
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, noSpace) || tries.Load() == 0 {
			t.Errorf("after %d tries on b the deploy %s: %s", tries.Load(), job.State, job.Error)
		}
		w.settledOn("web", 1, 1)
	})
}

func TestWhatCannotGoElsewhereSaysThatTheDiskIsFull(t *testing.T) {
	overThree(t, func(w *world) {
		var tries atomic.Int64
		w.on("b").fill(&tries)
		pinned := w.spec("pinned", "app:1", 1)
		pinned.Placement.Constraints = []fleet.Constraint{"node==b"}
		if job := w.done(w.engine().Deploy(w.ctx, pinned, "tester", false)); job.State != fleet.JobFailed || !strings.Contains(job.Error, noSpace) {
			t.Errorf("%s %s", job.State, job.Error)
		}
	})
}

func TestReplicasOfALostNodeGoRoundAFullOne(t *testing.T) {
	overThree(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		var tries atomic.Int64
		w.on("b").fill(&tries)
		// b is where they would go: a has more than its share.
		heavy := w.spec("heavy", "app:1", 3)
		heavy.Placement.Constraints = []fleet.Constraint{"node==a"}
		w.deployed(heavy)
		w.on("c").silence(true)
		w.untilNode("c", fleet.NodeDown)
		w.untilServing("web", 3)
		if got := w.spread("web"); got["c"] != 0 || got["a"] != 2 || tries.Load() == 0 {
			t.Errorf("web stands on %v, after %d tries on b", got, tries.Load())
		}
	})
}

func TestAHostPortThatSomethingHoldsOnOneNodeIsHadOnAnother(t *testing.T) {
	overThree(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Ports = []fleet.Port{{ContainerPort: 9000, HostPort: 8080, Protocol: "tcp"}}
		var tries atomic.Int64
		for _, node := range []string{"a", "b"} {
			w.on(node).refuse(&tries, &fleet.Error{Kind: fleet.Conflict, Field: fieldHostPort, Message: "port 8080 is taken by a process of the host"})
		}
		w.deployed(spec)
		if got := w.spread("web"); got["c"] != 1 || tries.Load() != 2 {
			t.Errorf("web stands on %v after %d tries elsewhere", got, tries.Load())
		}
	})
}

// TestAnImageIsLookedForElsewhereWhenTheNodeThatIsAskedFallsSilent: the first that
// a deploy asks is the one with the fewest replicas.
func TestAnImageIsLookedForElsewhereWhenTheNodeThatIsAskedFallsSilent(t *testing.T) {
	overThree(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		w.on("c").silence(false) // nobody has noticed
		w.deployed(w.spec("new", "app:2", 2))
		if w.spread("new")["c"] != 0 {
			t.Errorf("new stands on %v", w.spread("new"))
		}
	})
}

func TestAnImageThatOtherNodesHaveForAnotherPlatformIsRefusedInWordsOfThat(t *testing.T) {
	overThree(t, func(w *world) {
		w.cluster.mu.Lock()
		for _, d := range w.cluster.nodes {
			d.node.Platform = "linux/amd64"
			image := d.images["app:2"]
			delete(d.images, "app:2")
			delete(d.images, image.ID)
			if d.node.Name == "a" {
				image.Platform = "linux/arm64"
				d.images["app:2"] = image
			}
		}
		w.cluster.mu.Unlock()
		w.restart()
		if err := w.engine().DrainNode(w.ctx, "a"); err != nil { // so that another one is asked
			t.Fatal(err)
		}
		spec := w.spec("new", "app:2", 1)
		spec.Pull = fleet.PullNever
		_, err := w.engine().Deploy(w.ctx, spec, "tester", false)
		if err == nil || !strings.Contains(err.Error(), "image: node a has app:2") || !strings.Contains(err.Error(), "2 nodes: linux/amd64, but the image is made for linux/arm64") {
			t.Errorf("got %v", err)
		}
	})
}
