package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// drained has a node drained and waits for the end of that.
func (w *world) drained(node string) fleet.Job {
	w.t.Helper()
	if err := w.engine().DrainNode(w.ctx, node); err != nil {
		w.t.Fatal(err)
	}
	return w.newestJob(fleet.JobDrain)
}

// newestJob waits for the newest job of a kind.
func (w *world) newestJob(kind fleet.JobKind) fleet.Job {
	w.t.Helper()
	jobs, err := w.engine().Jobs(w.ctx, "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, job := range jobs {
		if job.Kind == kind {
			return w.wait(fleet.Accepted{JobID: job.ID})
		}
	}
	w.t.Fatalf("there is no job of kind %s", kind)
	return fleet.Job{}
}

func (w *world) standsOn(node string) []string {
	var list []string
	for _, c := range w.containers() {
		if strings.HasPrefix(c, node+"/") {
			list = append(list, c)
		}
	}
	return list
}

func TestADrainMovesEverythingAndLosesNoRequest(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.deployed(w.spec("one", "app:2", 1))
		w.asleep(w.spec("cold", "app:3", 3))
		ports := w.spec("ports", "app:4", 3)
		ports.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		w.deployed(ports)
		for _, name := range []string{"web", "one", "ports"} {
			defer w.traffic(name, 7*time.Millisecond, 20*time.Millisecond)()
		}
		w.watchEdge("web", 3)
		starts := w.cluster.startsOf("cold")
		for _, node := range []string{"a", "b"} {
			if job := w.drained(node); job.State != fleet.JobSucceeded {
				t.Fatalf("the drain of %s %s: %s\n%s", node, job.State, job.Error, describeSteps(job))
			}
			if left := w.standsOn(node); len(left) > 0 {
				t.Errorf("left on %s: %v", node, left)
			}
			w.drainEnds(node)
		}
		if got := w.cluster.startsOf("cold"); got != starts || w.status("cold") != fleet.StatusAsleep {
			t.Errorf("the sleeper is %s and was started %d times by being moved", w.status("cold"), got-starts)
		}
		if _, err := w.request("cold", 0); err != nil {
			t.Error(err)
		}
	})
}

// drainEnds resumes a node for the next round of a test.
func (w *world) drainEnds(node string) {
	w.t.Helper()
	if err := w.engine().ResumeNode(w.ctx, node); err != nil {
		w.t.Fatal(err)
	}
}

func TestASleeperThatIsAskedForWhileItIsMovedAnswers(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.asleep(w.spec("cold", "app:1", 1))
		node := w.engine().Services()[0].Containers[0].NodeID
		w.on(node).slow = 300 * time.Millisecond
		answered := make(chan error, 1)
		time.AfterFunc(200*time.Millisecond, func() {
			_, err := w.request("cold", 0)
			answered <- err
		})
		if job := w.drained(node); job.State != fleet.JobSucceeded {
			t.Fatalf("the drain %s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		w.untilServing("cold", 1)
		if len(w.standsOn(node)) > 0 {
			t.Errorf("left on %s: %v", node, w.standsOn(node))
		}
	})
}

func TestADrainSaysWhatCannotBeMoved(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		big := w.spec("big", "app:1", 2)
		big.Resources.MemoryMB = 3000
		w.deployed(big)
		w.deployed(w.spec("web", "app:2", 2))
		job := w.drained("a")
		if job.State != fleet.JobFailed || !strings.Contains(job.Error, "big cannot be placed") || !strings.Contains(job.Error, "MB short") {
			t.Errorf("the drain %s: %s", job.State, job.Error)
		}
		nodes, err := w.engine().Nodes(w.ctx)
		if err != nil || !strings.Contains(nodes[0].Note, "it is not drained: big cannot be placed: 1 node") {
			t.Errorf("the node says %q, %v", nodes[0].Note, err)
		}
		if got := fmt.Sprint(w.spread("web"), w.spread("big")); got != "map[b:2] map[a:1 b:1]" {
			t.Errorf("web and big stand on %s", got)
		}
		w.untilServing("big", 2)
		if why := w.why("big"); !strings.Contains(why, "big cannot be placed") {
			t.Errorf("while the node is to be drained, why: %s", why)
		}
		if err := w.engine().ResumeNode(w.ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if why := w.why("big"); strings.Contains(why, "cannot be placed") {
			t.Errorf("once it is not, why: %s", why)
		}
	})
}

func TestServicesThatCannotBeMovedAreToldApart(t *testing.T) {
	noRoom := failedMove{"web", errors.New("web cannot be placed: 2 nodes: 512 MB short; 1 node: draining")}
	other := failedMove{"db", errors.New("the engine does not answer")}
	for want, failures := range map[string][]failedMove{
		"web cannot be placed: 2 nodes: 512 MB short; 1 node: draining": {noRoom},
		"db: the engine does not answer":                                {other},
		"2 services are not moved: web (cannot be placed: 2 nodes: 512 MB short; 1 node: draining), db (the engine does not answer)": {noRoom, other},
	} {
		if got := notMoved(failures); got == nil || got.Error() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := notMoved(nil); err != nil {
		t.Errorf("nothing has failed: %v", err)
	}
}

func TestADrainOfANodeThatDoesNotAnswerMovesAllTheSame(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		w.on("b").silence(false)
		w.untilNode("b", fleet.NodeUnmanaged)
		defer w.traffic("web", 7*time.Millisecond, 20*time.Millisecond)()
		if job := w.drained("b"); job.State != fleet.JobSucceeded {
			t.Fatalf("the drain %s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		if got := w.spread("web"); got["b"] != 0 {
			t.Errorf("web stands on %v", got)
		}
		w.on("b").speak()
		w.until("nothing is left there", func() bool { return len(w.standsOn("b")) == 0 })
	})
}

func TestADrainThatWasCutOffIsGoneOnWith(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 4))
		if err := w.engine().DrainNode(w.ctx, "a"); err != nil {
			t.Fatal(err)
		}
		w.docker.node.Draining = true // it is stored by whoever asked for it
		time.Sleep(50 * time.Millisecond)
		w.kill()
		if job := w.newestJob(fleet.JobDrain); job.State != fleet.JobSucceeded {
			t.Fatalf("the drain %s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
		w.until("nothing is left there", func() bool { return len(w.standsOn("a")) == 0 })
		w.untilServing("web", 4)
	})
}

func TestANodeIsRemovedWhenNothingIsThereOrByForce(t *testing.T) {
	for name, dark := range map[string]bool{"that answers": false, "that is gone": true} {
		t.Run(name, func(t *testing.T) {
			overNodes(t, []string{"a", "b"}, func(w *world) {
				w.deployed(w.spec("web", "app:1", 2))
				db := w.spec("db", "app:2", 1)
				db.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}}
				w.deployed(db)
				node := w.engine().Services()[0].Containers[0].NodeID // of db
				if err := w.engine().RemoveNode(w.ctx, node, false); fleet.KindOf(err) != fleet.Conflict {
					t.Errorf("removed with replicas there: %v", err)
				}
				if dark {
					w.on(node).silence(true)
					w.untilNode(node, fleet.NodeDown)
				}
				if err := w.engine().RemoveNode(w.ctx, node, true); err != nil {
					t.Fatal(err)
				}
				w.untilServing("web", 2)
				w.untilServing("db", 1)
				if w.nodeState(node) != "" || w.spread("web")[node]+w.spread("db")[node] > 0 {
					t.Errorf("node %s is %q, web stands on %v, db on %v", node, w.nodeState(node), w.spread("web"), w.spread("db"))
				}
				if left := w.standsOn(node); !dark && len(left) > 0 {
					t.Errorf("left there: %v", left)
				}
			})
		})
	}
}

func TestANodeWhoseRemoveIsCutOffDrainsNoMore(t *testing.T) {
	for name, test := range map[string]struct {
		after   time.Duration // the remove is cut off; 0 = before its drain is stored
		drained bool          // the node drains before
	}{
		"before its drain is stored":     {},
		"while it drains":                {after: 30 * time.Millisecond},
		"of one that drained before":     {drained: true},
		"while one drains that did that": {after: 30 * time.Millisecond, drained: true},
	} {
		t.Run(name, func(t *testing.T) {
			overNodes(t, []string{"a", "b"}, func(w *world) {
				spec := w.spec("web", "app:1", 4)
				w.deployed(spec)
				w.on("a").slow = 20 * time.Millisecond
				if test.drained {
					if err := w.engine().DrainNode(w.ctx, "b"); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				if test.after == 0 {
					cancel()
				} else {
					time.AfterFunc(test.after, cancel)
				}
				if err := w.engine().RemoveNode(ctx, "b", true); err == nil {
					t.Fatal("it was removed")
				}
				nodes, err := w.engine().Nodes(w.ctx)
				if err != nil || nodes[1].Name != "b" || nodes[1].Draining != test.drained {
					t.Errorf("%+v, %v", nodes, err)
				}
				jobs, err := w.engine().Jobs(w.ctx, "", 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, job := range jobs {
					if job = w.wait(fleet.Accepted{JobID: job.ID}); job.Kind == fleet.JobDrain && (job.State == fleet.JobSucceeded) != test.drained {
						t.Errorf("the drain %s: %s", job.State, job.Error)
					}
				}
				w.untilServing("web", 4)
			})
		})
	}
}

func TestByForceANodeGoesAlthoughWhatStandsThereFitsNowhereElse(t *testing.T) {
	for name, test := range map[string]struct {
		dark, asleep, restart bool
	}{
		"that answers":     {},
		"that is gone":     {dark: true},
		"with a sleeper":   {asleep: true},
		"before a restart": {dark: true, restart: true},
		"and it sleeps":    {dark: true, asleep: true, restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			overNodes(t, []string{"a", "b"}, func(w *world) {
				pinned := w.spec("vol", "app:1", 1)
				pinned.Placement.Constraints = []fleet.Constraint{"node==b"}
				pinned.Volumes = []fleet.Volume{{Name: "data", Path: "/data"}}
				if test.asleep {
					w.asleep(pinned)
				} else {
					w.deployed(pinned)
				}
				if err := w.engine().RemoveNode(w.ctx, "b", false); fleet.KindOf(err) != fleet.Conflict || w.nodeState("b") == "" {
					t.Fatalf("without force: %v", err)
				}
				if test.dark {
					w.on("b").silence(true)
					w.untilNode("b", fleet.NodeDown)
				}
				if err := w.engine().RemoveNode(w.ctx, "b", true); err != nil || w.nodeState("b") != "" {
					t.Fatalf("by force: %v", err)
				}
				w.hasNoPlace("vol", !test.asleep)
				want := 1
				if test.dark {
					want = 2 // that it stayed when its node was down, too
				}
				if told := w.events("vol", fleet.EventWarning); len(told) != want || !strings.Contains(strings.Join(told, "; "), "vol-0 cannot be placed elsewhere although node b is removed") {
					t.Errorf("told: %q", told)
				}
				if left := w.standsOn("b"); !test.dark && len(left) > 0 {
					t.Errorf("left there: %v", left)
				}
				b := w.on("b")
				if test.restart {
					w.stop()
					b.forgotten = true
					w.start()
				}
				time.Sleep(5 * time.Minute)
				w.hasNoPlace("vol", !test.asleep)
				b.speak()
				if err := w.engine().AddNode(w.ctx, fleet.Node{Name: "b"}); err != nil {
					t.Fatal(err)
				}
				if test.asleep {
					w.until("it stands again", func() bool { return w.spread("vol")["b"] == 1 && w.status("vol") == fleet.StatusAsleep })
					return
				}
				w.untilServing("vol", 1)
				w.until("it runs there", func() bool { return w.spread("vol")["b"] == 1 && w.status("vol") == fleet.StatusRunning })
			})
		})
	}
}

// hasNoPlace checks what is told of a service that stands nowhere.
func (w *world) hasNoPlace(name string, ask bool) {
	w.t.Helper()
	why, err := w.engine().Why(name)
	if err != nil || why.Status != fleet.StatusFailed || !strings.Contains(strings.Join(why.Reasons, "; "), "node==b does not hold") {
		w.t.Errorf("why: %+v, %v", why, err)
	}
	if got := w.spread(name); len(got) != 0 || len(w.endpoints(name)) != 0 {
		w.t.Errorf("it stands on %v", got)
	}
	if !ask {
		return // it would be woken when it has a place
	}
	if _, err := w.request(name, 0); err == nil || !strings.Contains(err.Error(), "node==b does not hold") {
		w.t.Errorf("a request: %v", err)
	}
}

func TestAServiceThatLosesOnePlaceIsDegradedUntilSomethingFits(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		if err := w.engine().DrainNode(w.ctx, "c"); err != nil {
			t.Fatal(err)
		}
		spec := w.spec("web", "app:1", 2)
		spec.Placement.AntiAffinity = fleet.NodeName
		w.deployed(spec)
		w.on("b").silence(true)
		w.untilNode("b", fleet.NodeDown)
		if err := w.engine().RemoveNode(w.ctx, "b", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		why, err := w.engine().Why("web")
		if err != nil || why.Status != fleet.StatusDegraded || !strings.Contains(strings.Join(why.Reasons, "; "), "web cannot be placed") {
			t.Errorf("why: %+v, %v", why, err)
		}
		jobs, err := w.engine().Jobs(w.ctx, "web", 0)
		if err != nil || len(jobs) != 1 {
			t.Errorf("jobs that cannot succeed were begun: %+v, %v", jobs, err)
		}
		w.drainEnds("c")
		w.untilServing("web", 2)
		w.until("it runs as wanted", func() bool { return w.status("web") == fleet.StatusRunning })
		if got := fmt.Sprint(w.spread("web")); got != "map[a:1 c:1]" {
			t.Errorf("web stands on %s", got)
		}
	})
}
