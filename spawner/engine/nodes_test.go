package engine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// overNodes runs a test in a world with nodes of those names.
func overNodes(t *testing.T, names []string, test func(w *world)) {
	t.Helper()
	synctestWorld(t, func(w *world) {
		w.docker.node.Name = names[0]
		for _, name := range names[1:] {
			w.cluster.add(name)
		}
	}, test)
}

// spread counts a service's replicas by node, as the API tells them.
func (w *world) spread(name string) map[string]int {
	count := map[string]int{}
	service, err := w.engine().Service(name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range service.Containers {
		count[c.NodeID]++
	}
	return count
}

func TestReplicasOfAServiceAreSpreadOverTheNodes(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 6))
		w.deployed(w.spec("api", "app:2", 2))
		if got := fmt.Sprint(w.spread("web")); got != "map[a:2 b:2 c:2]" {
			t.Errorf("web stands on %s", got)
		}
		if got := fmt.Sprint(w.spread("api")); got != "map[a:1 b:1]" {
			t.Errorf("api stands on %s", got)
		}
		w.deployed(w.spec("web", "app:3", 6))
		if got := fmt.Sprint(w.spread("web")); got != "map[a:2 b:2 c:2]" {
			t.Errorf("web stands on %s after an update, which moves nothing", got)
		}
		if len(w.endpoints("web")) != 6 {
			t.Error(w.picture())
		}
		w.restart()
		if got := fmt.Sprint(w.spread("web")); got != "map[a:2 b:2 c:2]" {
			t.Errorf("web stands on %s after a restart of the spawner", got)
		}
	})
}

func TestOneReplicaOnEachNodeHoldsTheHostPorts(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		spec := w.spec("web", "app:1", 4)
		spec.Ports = []fleet.Port{{ContainerPort: 8080, HostPort: 80}}
		w.deployed(spec)
		service, err := w.engine().Service("web")
		if err != nil {
			t.Fatal(err)
		}
		published := map[string]int{}
		for _, r := range service.Detail {
			published[r.NodeID] += len(r.Published)
		}
		if published["a"] != 1 || published["b"] != 1 {
			t.Errorf("published: %v", published)
		}
	})
}

func TestTheStepThatPlacesNamesTheNodeOfEachReplica(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		for replicas, want := range map[int]string{
			1:  "on node a",
			3:  "web-0 on a, web-1 on b, web-2 on a",
			10: "web-0 on a, web-1 on b, web-2 on a, web-3 on b, web-4 on a, web-5 on b, web-6 on a, web-7 on b and 2 more",
		} {
			job := w.deploy(w.spec("web", "app:1", replicas))
			if at := slices.IndexFunc(job.Steps, func(s fleet.Step) bool { return s.Verb == "place" }); at < 0 || job.Steps[at].Detail != want {
				t.Errorf("%d replicas: the steps are %+v, want place: %s", replicas, job.Steps, want)
			}
			if told := w.events("web", fleet.EventStep); !slices.ContainsFunc(told, func(m string) bool { return strings.HasSuffix(m, ": "+want) }) {
				t.Errorf("%d replicas: told is %q", replicas, told)
			}
			w.done(w.engine().Remove(w.ctx, "web", "test"))
		}
	})
}

func TestANodeThatDoesNotAnswerKeepsNobodyFromBeingReady(t *testing.T) {
	for name, quiet := range map[string]func(d *fakeDocker){
		"silent": func(d *fakeDocker) { d.silence(true) },
		"slow":   func(d *fakeDocker) { d.slow = 20 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			synctestWorld(t, func(w *world) {
				began = time.Now()
				quiet(w.cluster.add("z"))
			}, func(w *world) {
				if took := time.Since(began); took > startGrace+time.Second {
					t.Errorf("ready after %s", took)
				}
				w.deployed(w.spec("web", "app:1", 2))
				if got := w.spread("web"); got["local"] != 2 {
					t.Errorf("web stands on %v", got)
				}
			})
		})
	}
}

func TestANodeThatAnswersLaterIsTakenUpThen(t *testing.T) {
	var late *fakeDocker
	synctestWorld(t, func(w *world) {
		late = w.cluster.add("z")
		late.silence(true)
	}, func(w *world) {
		late.speak()
		w.until("the node is ready", func() bool { return w.nodeState("z") == fleet.NodeReady })
		w.deployed(w.spec("web", "app:1", 2))
		if got := fmt.Sprint(w.spread("web")); got != "map[local:1 z:1]" {
			t.Errorf("web stands on %s", got)
		}
	})
}

func TestASlowNodeDelaysNothingOnAnother(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1)) // on a
		w.on("b").slow = 2 * time.Second
		slow := w.spec("slow", "app:2", 1)
		accepted, err := w.engine().Deploy(w.ctx, slow, "tester", false)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.succeeded(w.engine().Scale(w.ctx, "web", 1, "tester"))
		w.succeeded(w.engine().Sleep(w.ctx, "web", "tester"))
		w.succeeded(w.engine().Wake(w.ctx, "web", "tester"))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a sleep and a wake on a took %s", took)
		}
		if job := w.wait(accepted); job.State != fleet.JobSucceeded {
			t.Errorf("the deploy on the slow node %s: %s", job.State, job.Error)
		}
		if got := fmt.Sprint(w.spread("slow")); got != "map[b:1]" {
			t.Errorf("slow stands on %s", got)
		}
	})
}

func TestDeploysSideBySideDoNotOverbookANode(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		var accepted []fleet.Accepted
		for n := range 6 {
			spec := w.spec(fmt.Sprintf("s%d", n), "app:1", 1)
			spec.Resources.MemoryMB = 1800 // two fit on a node of 4,096
			a, err := w.engine().Deploy(w.ctx, spec, "tester", false)
			if err != nil {
				t.Fatal(err)
			}
			accepted = append(accepted, a)
		}
		done := 0
		for _, a := range accepted {
			if w.wait(a).State == fleet.JobSucceeded {
				done++
			}
		}
		if done != 4 {
			t.Errorf("%d of 6 deploys succeeded, 4 fit", done)
		}
		w.notOverbooked()
	})
}

func (w *world) nodeState(name string) fleet.NodeState {
	nodes, err := w.engine().Nodes(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	at := slices.IndexFunc(nodes, func(n fleet.Node) bool { return n.Name == name })
	if at < 0 {
		return ""
	}
	return nodes[at].State
}

// notOverbooked looks at what the apps that run on each node may take.
func (w *world) notOverbooked() {
	w.t.Helper()
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	for _, d := range w.cluster.nodes {
		memory := 0
		for _, b := range d.boxes {
			if b.status == fleet.ContainerRunning || b.status == fleet.ContainerPaused {
				memory += b.config.MemoryMB
			}
		}
		if int64(memory) > d.node.MemoryMB {
			w.t.Errorf("node %s has %d MB and %d are reserved", d.node.Name, d.node.MemoryMB, memory)
		}
	}
}

func TestWhatRunsOnALateNodeForALostDatabaseIsLeftAndTakenUpByTheNextStart(t *testing.T) {
	overNodes(t, []string{"a", "b"}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1)) // on a
		w.on("a").silence(false)
		w.startOn(filepath.Join(t.TempDir(), "empty.db"))
		w.on("a").speak()
		w.untilNode("a", fleet.NodeReady)
		time.Sleep(time.Minute)
		if len(w.standsOn("a")) != 2 {
			t.Errorf("on a there are %v", w.standsOn("a"))
		}
		w.restart()
		w.untilServing("web", 1)
	})
}

func TestANodeThatHasJustJoinedTakesReplicasAtOnceAndASilentOneIsNotWaitedForLong(t *testing.T) {
	overNodes(t, []string{"a"}, func(w *world) {
		join := func(d *fakeDocker) time.Duration {
			began := time.Now()
			if err := w.engine().AddNode(w.ctx, fleet.Node{Name: d.node.Name}); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if took := join(w.added("b")); took > time.Second {
			t.Errorf("a node that answers was waited for %s", took)
		}
		w.deployed(w.spec("web", "app:1", 2))
		if got := fmt.Sprint(w.spread("web")); got != "map[a:1 b:1]" {
			t.Errorf("web stands on %s", got)
		}
		silent := w.added("c")
		silent.silence(true)
		if took := join(silent); took > joinPatience {
			t.Errorf("a silent node was waited for %s", took)
		}
		if state := w.nodeState("c"); state == fleet.NodeReady {
			t.Errorf("it is %s", state)
		}
	})
}

// added makes a node while the engine runs.
func (w *world) added(name string) *fakeDocker {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	return w.cluster.add(name)
}
