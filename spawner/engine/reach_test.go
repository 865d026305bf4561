package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// apart runs a test in a world with two nodes that share no network: the
// spawner's own, and b on another machine.
func apart(t *testing.T, test func(w *world)) {
	t.Helper()
	synctestWorld(t, func(w *world) {
		w.config.Ports = fleet.PortRange{First: 20000, Last: 20009}
		b := w.cluster.add("b")
		b.node.Endpoint, b.node.Address = "tcp://192.0.2.2:2376", "192.0.2.2"
		for _, d := range w.cluster.nodes {
			network := d.networks["traefiknet"]
			network.Driver = "bridge"
			d.networks["traefiknet"] = network
		}
	}, test)
}

// portsOn are the ports of node b at which replicas of a service are reached.
func (w *world) reachedOnB(name string) map[uint16]bool {
	ports := map[uint16]bool{}
	for _, e := range w.endpoints(name) {
		if e.Addr.Addr() == netip.MustParseAddr("192.0.2.2") {
			ports[e.Addr.Port()] = true
		}
	}
	return ports
}

func TestReplicasOnANodeThatSharesNoNetworkAreReachedByItsPorts(t *testing.T) {
	apart(t, func(w *world) {
		w.on("b").busy = map[int]bool{20000: true, 20002: true}
		w.deployed(w.spec("web", "app:1", 4))
		if got := fmt.Sprint(w.reachedOnB("web")); got != "map[20001:true 20003:true]" {
			t.Errorf("reached at %s: two ports that nothing else has", got)
		}
		detail, err := w.engine().Service("web")
		if err != nil {
			t.Fatal(err)
		}
		for _, replica := range detail.Detail {
			at, err := netip.ParseAddrPort(replica.Address)
			if far := replica.NodeID == "b"; far != (err == nil && w.reachedOnB("web")[at.Port()]) {
				t.Errorf("%s on %s is shown at %s", replica.Name, replica.NodeID, replica.Address)
			} else if far != (len(replica.Published) == 1 && replica.Published[0] == fleet.Port{ContainerPort: 8080, HostPort: int(at.Port()), HostIP: "192.0.2.2", Protocol: "tcp"}) {
				t.Errorf("%s on %s publishes %v", replica.Name, replica.NodeID, replica.Published)
			}
		}
		for range 4 {
			if _, err := w.request("web", 0); err != nil {
				t.Error(err)
			}
		}
		w.deployed(w.spec("web", "app:2", 4))
		w.deployed(w.spec("api", "app:3", 2))
		for port := range w.reachedOnB("api") {
			if w.reachedOnB("web")[port] {
				t.Errorf("port %d is given twice", port)
			}
		}
		before := fmt.Sprint(w.endpoints("web"))
		w.restart()
		if after := fmt.Sprint(w.endpoints("web")); after != before {
			t.Errorf("after a restart web is at %s, it was at %s", after, before)
		}
		for _, b := range w.on("b").boxes {
			for _, p := range b.config.Ports {
				if p.HostIP != "192.0.2.2" {
					t.Errorf("%s binds %q", b.name, p.HostIP)
				}
			}
		}
		w.asleep(w.spec("cold", "app:4", 2))
		w.succeeded(w.engine().Wake(w.ctx, "cold", "tester"))
		w.untilServing("cold", 2)
		w.succeeded(w.engine().Remove(w.ctx, "web", "tester"))
		w.succeeded(w.engine().Remove(w.ctx, "api", "tester"))
		w.succeeded(w.engine().Remove(w.ctx, "cold", "tester"))
		if held, err := w.store.Addresses().Holders(w.ctx); err != nil || len(held) > 0 {
			t.Errorf("held at the end: %v, %v", held, err)
		}
	})
}

func TestANodeWhoseRangeOfPortsIsUsedUpGetsNothingNewForAWhile(t *testing.T) {
	apart(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 20))
		w.deployed(w.spec("more", "app:2", 2))
		if got := fmt.Sprint(w.spread("more")); got != "map[local:2]" {
			t.Errorf("more stands on %s", got)
		}
		if nodes, err := w.engine().Nodes(w.ctx); err != nil || nodes[0].Note != "gets nothing new for a while: "+portsGone {
			t.Errorf("the nodes are %+v, %v", nodes, err)
		}
		pinned := w.spec("pinned", "app:3", 1)
		pinned.Placement.Constraints = []fleet.Constraint{"node==b"}
		began := time.Now()
		if job := w.deploy(pinned); job.State != fleet.JobFailed || !strings.Contains(job.Error, "is free in --port-range 20000-20009") || time.Since(began) > 5*time.Second {
			t.Errorf("what can only be there: %s after %s: %s", job.State, time.Since(began), job.Error)
		}
		w.untilServing("web", 20)
	})
}

func TestANodeWithoutASharedNetworkNeedsAnAddress(t *testing.T) {
	e := &Engine{config: Config{OwnNode: "this machine by TCP"}, members: members{of: map[string]*member{}}}
	own := fleet.Node{Endpoint: "tcp://127.0.0.1:2375", Swarm: &fleet.NodeSwarm{ID: "own"}}
	for name, test := range map[string]struct {
		node    fleet.Node
		driver  string
		address string
		needed  bool
		fails   bool
	}{
		"an overlay":              {fleet.Node{Endpoint: "tcp://192.0.2.2:2376"}, "overlay", "", false, false},
		"this machine":            {fleet.Node{Endpoint: "unix:///var/run/docker.sock"}, "bridge", "", false, false},
		"this machine by TCP":     {own, "bridge", "", false, false},
		"a tunnel":                {fleet.Node{Endpoint: "tcp://127.0.0.1:12376", Address: "192.0.2.4"}, "bridge", "192.0.2.4", true, false},
		"a tunnel to nowhere":     {fleet.Node{Endpoint: "ssh://me@127.0.0.1:8022", Address: "127.0.0.1"}, "bridge", "", false, true},
		"a tunnel by a name":      {fleet.Node{Endpoint: "tcp://localhost:12376"}, "bridge", "", false, true},
		"another by its address":  {fleet.Node{Endpoint: "ssh://me@host", Address: "192.0.2.3"}, "bridge", "192.0.2.3", true, false},
		"another by its endpoint": {fleet.Node{Endpoint: "tcp://192.0.2.2:2376"}, "bridge", "192.0.2.2", true, false},
		"another by a name":       {fleet.Node{Endpoint: "ssh://me@host"}, "bridge", "", false, true},
	} {
		test.node.Name = name
		e.members.of[name] = newMember(test.node, FailureLimits{}, func() {})
		address, needed, err := e.needsPorts(name, fleet.Network{Driver: test.driver})
		if needed != test.needed || (err != nil) != test.fails || needed && address.String() != test.address {
			t.Errorf("%s: %s, %v, %v", name, address, needed, err)
		}
	}
}

func TestASwarmThatTheSpawnersNodeIsNotInIsNoWayToItsReplicas(t *testing.T) {
	for name, endpoint := range map[string]string{
		"all by their addresses": "tcp://192.0.2.3:2376",
		"one by a tunnel":        "tcp://127.0.0.1:12376",
	} {
		t.Run(name, func(t *testing.T) { notInTheSwarm(t, endpoint) })
	}
}

// notInTheSwarm deploys to the spawner's own node and two others, which are in a
// swarm; the last of them is reached at the endpoint.
func notInTheSwarm(t *testing.T, endpoint string) {
	t.Helper()
	synctestWorld(t, func(w *world) {
		w.config.OwnNode = w.docker.node.Name
		w.config.Ports = fleet.PortRange{First: 20000, Last: 20009}
		own := w.docker.networks["traefiknet"]
		own.Driver = "bridge"
		w.docker.networks["traefiknet"] = own
		for i, name := range []string{"b", "c"} {
			d := w.cluster.add(name)
			d.node.Address = fmt.Sprintf("192.0.2.%d", i+2)
			d.node.Endpoint = "tcp://" + d.node.Address + ":2376"
			d.node.Swarm = &fleet.NodeSwarm{ID: name, Manager: true}
		}
		w.on("c").node.Endpoint = endpoint
	}, func(w *world) {
		w.deployed(w.spec("web", "app:1", 3))
		if got := fmt.Sprint(w.reachedOnB("web")); got != "map[20000:true]" {
			t.Errorf("on b it is reached at %s, want a port of the node", got)
		}
	})
}

func TestAnAddressThatTheEngineTakesForTakenIsGivenUpForAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		w.deployed(w.spec("web", "app:1", 1))
		next := w.endpoints("web")[0].Addr.Addr().Next()
		w.docker.mu.Lock()
		w.docker.leaked = map[netip.Addr]bool{next: true, next.Next(): true}
		w.docker.mu.Unlock()
		w.deployed(w.spec("web", "app:2", 1))
		w.settledOn("web", 2, 1)
		if got := w.endpoints("web")[0].Addr.Addr(); got != next.Next().Next() {
			t.Errorf("web has %s", got)
		}
	})
}
