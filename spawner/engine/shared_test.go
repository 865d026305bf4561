package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

const sharedOfFleet = "z-" + fakeFleet + "-shared-"

// inSwarm runs a test over nodes a and b of one swarm and c, which is in none;
// each has a bridge of its own, and an edge runs on a.
func inSwarm(t *testing.T, test func(w *world), more ...func(w *world)) {
	t.Helper()
	synctestWorld(t, func(w *world) {
		w.docker.node.Name = "a"
		w.docker.edge = map[string]netip.Addr{}
		w.cluster.add("b")
		w.cluster.add("c")
		for _, d := range w.cluster.nodes {
			bridge := d.networks["traefiknet"]
			bridge.Driver = driverBridge
			d.networks["traefiknet"] = bridge
			if d.node.Name != "c" {
				d.node.Swarm = &fleet.NodeSwarm{ID: d.node.Name, Manager: d.node.Name == "a"}
			}
		}
		for _, change := range more {
			change(w)
		}
	}, test)
}

// networksOf are the networks of a service's sandboxes, by node.
func (w *world) networksOf(service string) map[string]string {
	found := map[string]string{}
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	for _, d := range w.cluster.nodes {
		for _, b := range d.boxes {
			for _, a := range b.config.Networks {
				if b.config.Labels[fleet.LabelService] == service {
					found[d.node.Name] = a.Network
				}
			}
		}
	}
	return found
}

// toldOfSharing is what was told of networks that nodes share.
func (w *world) toldOfSharing() []string {
	w.t.Helper()
	return slices.DeleteFunc(w.events("", fleet.EventNode), func(m string) bool { return !strings.Contains(m, "network that nodes share") })
}

// busyAt lets an engine not answer one verb in time.
func (d *fakeDocker) busyAt(verb string) {
	d.flaw(func(asked, _ string) error {
		if asked == verb {
			return fleet.Errorf(fleet.Timeout, "it is busy")
		}
		return nil
	})
}

func (w *world) edgeIsOn() []string {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	return slices.Sorted(maps.Keys(w.docker.edge))
}

func TestReplicasThatAreMadeSideBySideBringAnEdgeOntoTheirNetworkOnce(t *testing.T) {
	inSwarm(t, func(w *world) {
		b := w.on("b")
		b.mu.Lock()
		b.edge = map[string]netip.Addr{}
		b.mu.Unlock()
		w.deployed(w.spec("web", "app:1", 2))
		time.Sleep(attendEvery)
		b.mu.Lock()
		clear(b.edge) // as if it were made anew: a replica on b and one on a care for it
		b.mu.Unlock()
		w.succeeded(w.engine().Scale(w.ctx, "web", 6, "tester"))
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, on := b.edge[sharedOfFleet+"traefiknet"]; !on {
			t.Errorf("the edge of b is on %v", b.edge)
		}
	})
}

func TestNodesOfOneSwarmShareANetworkAndTheEdgeOfAnyOfThemIsOnIt(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		want := map[string]string{"a": sharedOfFleet + "traefiknet", "b": sharedOfFleet + "traefiknet", "c": "traefiknet"}
		if got := w.networksOf("web"); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := w.edgeIsOn(); !slices.Equal(got, []string{sharedOfFleet + "traefiknet"}) {
			t.Errorf("the edge of a is on %v", got)
		}
		addresses := map[netip.Addr]bool{}
		for _, e := range w.endpoints("web") {
			addresses[addressOf(e)] = true
		}
		if len(addresses) != 3 {
			t.Errorf("addresses %v", addresses)
		}
	})
}

// ofTeam is a service with one replica, on a node and on the network team.
func (w *world) ofTeam(name, node string) fleet.Spec {
	spec := w.spec(name, "app:1", 1)
	spec.Networks = []string{"team"}
	spec.Placement.Constraints = []fleet.Constraint{fleet.Constraint("node==" + node)}
	return spec
}

func TestAnEdgeReachesASharedNetworkOfReplicasElsewhereAndLeavesItWithTheLast(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.deployed(w.ofTeam("one", "b"))
		if got := w.edgeIsOn(); !slices.Equal(got, []string{sharedOfFleet + "team"}) {
			t.Errorf("once a replica is on b the edge of a is on %v", got)
		}
		two := w.ofTeam("two", "a")
		two.Image = "app:2"
		w.deployed(two)
		team := sharedOfFleet + "team"
		if got := w.edgeIsOn(); !slices.Equal(got, []string{team}) {
			t.Errorf("the edge of a is on %v", got)
		}
		w.succeeded(w.engine().Remove(w.ctx, "two", "tester"))
		if got := w.edgeIsOn(); !slices.Equal(got, []string{team}) {
			t.Errorf("with a replica on b the edge of a is on %v", got)
		}
		w.succeeded(w.engine().Remove(w.ctx, "one", "tester"))
		if got := w.edgeIsOn(); len(got) > 0 {
			t.Errorf("without any the edge of a is on %v", got)
		}
		for _, d := range w.cluster.nodes {
			if _, err := d.findNetwork(team); err == nil {
				t.Errorf("%s still has it", d.node.Name)
			}
		}
	})
}

func TestASharedNetworkStaysWithItsEdgesForWhoComesAsTheLastOneLeaves(t *testing.T) {
	team := sharedOfFleet + "team"
	for after := time.Duration(0); after < 1500*time.Millisecond; after += 25 * time.Millisecond {
		inSwarm(t, func(w *world) {
			w.deployed(w.ofTeam("leaves", "a"))
			for _, name := range []string{"a", "b", "c"} {
				w.on(name).slow = 50 * time.Millisecond
			}
			removed, err := w.engine().Remove(w.ctx, "leaves", "tester")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			job := w.done(w.engine().Deploy(w.ctx, w.ofTeam("comes", "b"), "tester", false))
			if end := w.wait(removed); end.State != fleet.JobSucceeded || job.State != fleet.JobSucceeded {
				t.Errorf("%s apart the remove %s: %s; the deploy %s: %s", after, end.State, end.Error, job.State, job.Error)
			}
			_, err = w.on("b").findNetwork(team)
			if got := w.edgeIsOn(); !slices.Equal(got, []string{team}) || err != nil {
				t.Errorf("%s apart the edge of a is on %v, the network: %v", after, got, err)
			}
		})
	}
}

func TestANodeThatFallsSilentAsASharedNetworkIsRemovedHoldsNobodyUp(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.deployed(w.ofTeam("leaves", "a"))
		w.on("c").slow = time.Hour
		began := time.Now()
		removed, err := w.engine().Remove(w.ctx, "leaves", "tester")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		w.on("c").silence(false)
		if job := w.wait(removed); job.State != fleet.JobSucceeded {
			t.Errorf("the remove: %s %s", job.State, job.Error)
		}
		w.deployed(w.ofTeam("comes", "b"))
		if took := time.Since(began); took >= fakePatience {
			t.Errorf("the next replica on it was there after %s", took)
		}
	})
}

func TestThatNoSubnetIsFreeForASharedNetworkIsSaid(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.cluster.mu.Lock()
		w.docker.networks["corp"] = fleet.Network{ID: "n1", Name: "corp", Driver: driverBridge, Subnet: netip.MustParsePrefix("10.128.0.0/9")}
		w.cluster.mu.Unlock()
		spec := w.spec("web", "app:1", 1)
		spec.Placement.Constraints = []fleet.Constraint{"node==a"}
		job := w.deploy(spec)
		if want := "none of the subnets from 10.200.0.0/20 to 10.207.240.0/20 is free; of the last: subnet: overlaps corp"; job.State != fleet.JobFailed || !strings.Contains(job.Error, want) {
			t.Errorf("the deploy %s: %s, want %q", job.State, job.Error, want)
		}
	})
}

func TestASwarmOfOneNodeKeepsItsBridge(t *testing.T) {
	synctestWorld(t, func(w *world) {
		bridge := w.docker.networks["traefiknet"]
		bridge.Driver = driverBridge
		w.docker.networks["traefiknet"] = bridge
		w.docker.node.Swarm = &fleet.NodeSwarm{ID: "a", Manager: true}
	}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		if got := fmt.Sprint(w.networksOf("web")); strings.Contains(got, "shared") {
			t.Errorf("got %s", got)
		}
	})
}

func TestAnImageOfOneNodeIsBroughtToTheOthers(t *testing.T) {
	overNodes(t, []string{"a", "b", "c"}, func(w *world) {
		w.cluster.mu.Lock()
		for _, name := range []string{"b", "c"} {
			d := w.on(name)
			delete(d.images, "app:1")
			delete(d.images, "sha256:app-1")
		}
		w.cluster.mu.Unlock()
		spec := w.spec("web", "app:1", 3)
		spec.Pull = fleet.PullNever
		w.deployed(spec)
		if got := fmt.Sprint(w.spread("web")); got != "map[a:1 b:1 c:1]" {
			t.Errorf("web stands on %s", got)
		}
	})
}

// waitFor lets what a node's engine says of its swarm be that it waits; empty = it works.
func (d *fakeDocker) waitFor(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node.Swarm = &fleet.NodeSwarm{ID: d.node.Name, Waits: why}
}

func TestANodeThatIsBackGetsNothingNewUntilItHasFoundItsSwarm(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 2))
		b := w.on("b")
		b.silence(false)
		time.Sleep(3 * time.Second)
		b.waitFor("it has not found its swarm's managers")
		b.speak()
		time.Sleep(time.Second)
		solo := w.spec("solo", "app:2", 1)
		solo.Placement.Constraints = []fleet.Constraint{"node==b"}
		if job := w.deploy(solo); job.State != fleet.JobFailed || !strings.Contains(job.Error, "cannot use the network that nodes share yet: it has not found its swarm's managers") {
			t.Errorf("a deploy on b %s: %s", job.State, job.Error)
		}
		w.deployed(w.spec("more", "app:3", 4))
		if got := w.spread("more")["b"]; got != 0 {
			t.Errorf("b got %d replicas", got)
		}
		b.waitFor("")
		time.Sleep(2 * time.Second)
		w.deployed(solo)
		if got := w.networksOf("solo")["b"]; got != sharedOfFleet+"traefiknet" {
			t.Errorf("solo is on %q", got)
		}
		if told := w.toldOfSharing(); len(told) != 2 {
			t.Errorf("told %q", told)
		}
	})
}

func TestANetworkThatANodeIsToldOfLateIsWaitedFor(t *testing.T) {
	inSwarm(t, func(w *world) {
		late := 3
		b := w.on("b")
		b.mu.Lock()
		b.fault = func(verb, name string) error { // runs under the engine's lock
			if verb != "create" || name != "solo-0.net" || late == 0 {
				return nil
			}
			late--
			return &fleet.Error{Kind: fleet.NotFound, Field: fieldNetworks, Message: "network " + sharedOfFleet + "traefiknet not found"}
		}
		b.mu.Unlock()
		solo := w.spec("solo", "app:2", 1)
		solo.Placement.Constraints = []fleet.Constraint{"node==b"}
		job := w.deploy(solo)
		if step := stepOf(t, job, "create"); job.State != fleet.JobSucceeded || step.Attempts != 4 {
			t.Errorf("the deploy %s: %s\n%s", job.State, job.Error, describeSteps(job))
		}
	})
}

// TestANodeThatHasNotBeenHeardOfYetCountsAmongThoseThatShareNetworks: the spawner
// was started anew while b, which it had joined, is away.
func TestANodeThatHasNotBeenHeardOfYetCountsAmongThoseThatShareNetworks(t *testing.T) {
	inSwarm(t, func(w *world) {
		spec := w.spec("web", "app:1", 1)
		spec.Placement.Constraints = []fleet.Constraint{"node==a"}
		w.deployed(spec)
		if got := w.networksOf("web")["a"]; got != sharedOfFleet+"traefiknet" {
			t.Errorf("web is on %q, which b cannot be on", got)
		}
		w.on("b").speak()
		w.untilNode("b", fleet.NodeReady)
		for _, told := range w.events("", fleet.EventNode) {
			if strings.Contains(told, "again") {
				t.Errorf("told %q of a node that has not been heard of before", told)
			}
		}
	}, func(w *world) {
		w.on("b").joined = true
		w.on("b").silence(true)
	})
}

func TestANodeThatAnswersAndDoesNotSayWhoItIsGetsNothingUntilItDoes(t *testing.T) {
	inSwarm(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		w.on("b").silence(true)
		w.restart()
		b := w.on("b")
		b.busyAt("info")
		b.speak()
		time.Sleep(10 * time.Second)
		spec := w.spec("new", "app:2", 1)
		spec.Placement.Constraints = []fleet.Constraint{"node==b"}
		if job := w.deploy(spec); job.State != fleet.JobFailed || !strings.Contains(job.Error, "not answering") {
			t.Errorf("a deploy on b %s: %s", job.State, job.Error)
		}
		b.flaw(nil)
		w.untilNode("b", fleet.NodeReady)
		w.deployed(spec)
		if got := w.networksOf("new")["b"]; got != sharedOfFleet+"traefiknet" {
			t.Errorf("new is on %q", got)
		}
	})
}

func TestASwarmThatDoesNotWorkAsTheSpawnerBeginsIsTold(t *testing.T) {
	inSwarm(t, func(w *world) {
		b := w.on("b")
		b.waitFor("its swarm does not work")
		w.restart()
		w.untilNode("b", fleet.NodeReady)
		b.waitFor("")
		time.Sleep(2 * time.Second)
		if told := w.toldOfSharing(); len(told) != 2 || !strings.Contains(told[0], "cannot use") || !strings.Contains(told[1], "again") {
			t.Errorf("told %q", told)
		}
	}, func(w *world) { w.on("b").joined = true })
}

// TestANodeOfWhichTheFirstLookFailsIsLookedAtAgain: the engine is connected and
// busy as the spawner begins.
func TestANodeOfWhichTheFirstLookFailsIsLookedAtAgain(t *testing.T) {
	for _, verb := range []string{"info", "list"} {
		inSwarm(t, func(w *world) {
			w.deployed(w.spec("web", "app:1", 2))
			w.stop()
			b := w.on("b")
			b.busyAt(verb)
			w.start()
			time.Sleep(10 * time.Second)
			b.flaw(nil)
			w.untilNode("b", fleet.NodeReady)
			w.untilServing("web", 2)
		})
	}
}

// TestANodeWhoseSwarmTurnsOutNotToWorkIsGoneRound: as it came back it said that all was well.
func TestANodeWhoseSwarmTurnsOutNotToWorkIsGoneRound(t *testing.T) {
	inSwarm(t, func(w *world) {
		b := w.on("b")
		b.waitFor("its swarm does not work")
		b.flaw(func(verb, name string) error {
			if verb == "start" && strings.HasSuffix(name, ".net") {
				return &fleet.Error{Kind: fleet.Unavailable, Field: fieldNetworks, Message: "the swarm does not have a leader"}
			}
			return nil
		})
		w.deployed(w.spec("web", "app:1", 6))
		if got := w.spread("web")["b"]; got != 0 {
			t.Errorf("b got %d replicas", got)
		}
		if nodes, err := w.engine().Nodes(w.ctx); err != nil || nodes[1].SwarmWaits() == "" {
			t.Errorf("the nodes are %+v, %v", nodes, err)
		}
		b.waitFor("")
		b.flaw(nil)
		time.Sleep(3 * time.Second)
		w.deployed(w.spec("next", "app:2", 3))
		if got := w.spread("next")["b"]; got == 0 {
			t.Errorf("next stands on %v", w.spread("next"))
		}
	})
}
