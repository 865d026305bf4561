//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// dockerOn asks a node's engine, past the spawner.
func dockerOn(t *testing.T, node *lab.Node, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, err := node.Docker(ctx, args...)
	if err != nil {
		t.Fatalf("docker %q on %s: %v", args, node.Name, err)
	}
	return strings.TrimSpace(said)
}

// labWithOneNode is a spawner that knows the first engine of a lab alone.
func labWithOneNode(t *testing.T, nodes int) *stand.Stand {
	s := stand.Start(t, stand.WithLab(lab.Options{Nodes: nodes}), stand.NotYet())
	s.Spawner.SetFlag("--node-address=" + s.Lab.Nodes[0].Address())
	s.StartAll()
	return s
}

// mustRefuse runs a command that is to fail with these words.
func mustRefuse(t *testing.T, s *stand.Stand, words string, args ...string) {
	t.Helper()
	if said, code := s.CLI(args...); code != 1 || !strings.Contains(said, words) {
		t.Errorf("spawner %q: code %d, want 1 and %q:\n%s", args, code, words, said)
	}
}

func mustRun(t *testing.T, s *stand.Stand, args ...string) string {
	t.Helper()
	said, code := s.CLI(args...)
	if code != 0 {
		t.Fatalf("spawner %q: code %d:\n%s", args, code, said)
	}
	return said
}

func TestNodesComeWithTheirCertificatesStayOverAKillAndGo(t *testing.T) {
	s := labWithOneNode(t, 2)
	two := s.Lab.Nodes[1]
	add := []string{"node", "add", "--endpoint", two.Endpoint(), "--tls-ca", s.Lab.CAFile()}
	certified := append(add, "--tls-cert", s.Lab.CertFile(), "--tls-key", s.Lab.KeyFile())

	mustRefuse(t, s, "tls.cert", append(add, "two")...)
	mustRefuse(t, s, "plain TCP", "node", "add", "two", "--endpoint", "tcp://"+two.Address()+":2375")
	if said := mustRun(t, s, append(certified, "two", "--label", "zone=b")...); !strings.Contains(said, "Node two is there: engine") {
		t.Errorf("it said %s", said)
	}
	mustRefuse(t, s, "there is a node \"two\" already", append(certified, "two")...)
	mustRefuse(t, s, "this engine is a node already: two", append(certified, "again")...)
	mustRefuse(t, s, "this engine is a node already: node-1", "node", "add", "again", "--endpoint", "unix://"+s.Lab.Nodes[0].Socket())

	s.Spawner.Restart()
	s.WaitNode("two", 30*time.Second, fleet.NodeReady)
	if node := s.Node("two"); node.Labels["zone"] != "b" || node.Address != two.Address() {
		t.Errorf("after a kill: %+v", node)
	}
	lease := func() string { return dockerOn(t, two, "ps", "-aq", "--filter", "name=spawner-lease-"+s.FleetID) }
	if lease() == "" {
		t.Error("a second spawner of this fleet would not see that the engine is looked after")
	}
	mustRun(t, s, "node", "rm", "two")
	if said := lease(); said != "" {
		t.Errorf("the lease is still there: %s", said)
	}
	mustRefuse(t, s, "there is no node", "node", "rm", "two")
	mustRefuse(t, s, "spawner's own node", "node", "rm", "node-1")
}

func TestANodeBehindSSHGetsReplicasAndServesThem(t *testing.T) {
	s := labWithOneNode(t, 2)
	two := s.Lab.Nodes[1]
	door := s.StartSSHD(two)
	add := []string{"node", "add", "two", "--endpoint", door.Endpoint, "--ssh-key", door.KeyFile, "--ssh-host-key"}
	mustRefuse(t, s, door.HostKey, append(add, "SHA256:"+strings.Repeat("A", 43))...) // it says which key it saw
	mustRefuse(t, s, "there is no node", "node", "rm", "two")
	if said := mustRun(t, s, append(add, door.HostKey)...); !strings.Contains(said, "Node two is there: engine") {
		t.Errorf("it said %s", said)
	}
	s.WaitNode("two", 30*time.Second, fleet.NodeReady)
	if node := s.Node("two"); node.Address != two.Address() || node.Endpoint != door.Endpoint {
		t.Errorf("the node is %+v", node)
	}

	dockerOn(t, two, "image", "rm", stand.MockAppImage, stand.SandboxImage) // it goes there by ssh, too
	far := pinned(s, "far", "two")
	s.Deploy(far)
	s.Get("far.test", "/").MustBe(200).MustContain("hostname: far-0")
	if standing := containersOf(t, s, two); len(standing) != 2 {
		t.Errorf("on the node stand %v", standing)
	}
	s.Sleep("far")
	s.Get("far.test", "/").MustBe(200).MustContain("hostname: far-0")
	mustRun(t, s, "logs", "far")

	mustRun(t, s, "node", "add", "two", "--update", "--label", "zone=far")
	if labels := s.Node("two").Labels; labels["zone"] != "far" {
		t.Errorf("its labels are %v", labels)
	}
	for _, event := range s.Events("", fleet.EventNode) {
		if strings.Contains(event.Message, "cannot be reached") {
			t.Errorf("what changed a label broke its connection: %s", event.Message)
		}
	}

	door.Kill() // with it all that goes through it
	s.WaitNode("two", givenUp, fleet.NodeUnmanaged)
	s.Get("far.test", "/").MustBe(200)
	door.Start()
	s.WaitNode("two", 60*time.Second, fleet.NodeReady)
	s.Spawner.Restart()
	s.WaitNode("two", 30*time.Second, fleet.NodeReady)
	far.Replicas = 2
	s.Deploy(far)
	s.Get("far.test", "/").MustBe(200)
	s.Remove("far")
	mustRun(t, s, "node", "rm", "two")
	if left := containersOf(t, s, two); len(left) > 0 {
		t.Errorf("on the node are left %v", left)
	}
}

func TestAnImageThatOneNodeAloneHasIsBroughtToWhereItIsNeeded(t *testing.T) {
	s := labWithOneNode(t, 2)
	two := s.Lab.Nodes[1]
	dockerOn(t, two, "image", "rm", stand.MockAppImage, stand.SandboxImage)
	s.AddNode(two)
	id := dockerOn(t, s.Lab.Nodes[0], "image", "inspect", "-f", "{{.Id}}", stand.MockAppImage)
	spec := s.MockApp("far")
	spec.Replicas, spec.HealthCheck = 2, &fleet.HealthCheck{Type: fleet.CheckNone}
	s.Deploy(spec)
	if got := dockerOn(t, two, "image", "inspect", "-f", "{{.Id}}", stand.MockAppImage); got != id {
		t.Errorf("node-2 has %s, node-1 %s", got, id)
	}
	mustRefuse(t, s, "drain it first", "node", "rm", "node-2")
	s.Remove("far")
	mustRun(t, s, "node", "rm", "node-2")
}

func TestJoinedNodesKeepThreeManagersAndLeaveThemInOrder(t *testing.T) {
	s := labWithOneNode(t, 4)
	swarm := func(node *lab.Node) string {
		return dockerOn(t, node, "info", "-f", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}")
	}
	wait := func(wanted ...string) {
		t.Helper()
		stand.Eventually(t, 90*time.Second, "the managers are as they should be", func() error {
			var got []string
			for _, node := range s.Lab.Nodes {
				got = append(got, swarm(node))
			}
			if strings.Join(got, ", ") != strings.Join(wanted, ", ") {
				return fmt.Errorf("got %q, want %q", got, wanted)
			}
			return nil
		})
	}
	const manager, worker, out = "active true", "active false", "inactive false"
	join := func(node *lab.Node) { joinNetwork(t, s, node) }
	wait(out, out, out, out)
	join(s.Lab.Nodes[1])
	wait(manager, worker, out, out)
	join(s.Lab.Nodes[2])
	wait(manager, manager, manager, out)
	join(s.Lab.Nodes[3])
	wait(manager, manager, manager, worker)
	mustRun(t, s, "node", "rm", s.Lab.Nodes[1].Name)
	wait(manager, out, manager, manager)
	if said := dockerOn(t, s.Lab.Nodes[0], "node", "ls", "-q"); len(strings.Fields(said)) != 3 {
		t.Errorf("the swarm still knows it:\n%s", said)
	}
}

// joinNetwork makes a node of the lab a node of the fleet that shares its network.
func joinNetwork(t *testing.T, s *stand.Stand, node *lab.Node) {
	t.Helper()
	mustRun(t, s, "node", "add", node.Name, "--endpoint", node.Endpoint(), "--join-network",
		"--tls-ca", s.Lab.CAFile(), "--tls-cert", s.Lab.CertFile(), "--tls-key", s.Lab.KeyFile())
}

func TestReplicasOfJoinedNodesAreReachedFromTheEdgeAndByName(t *testing.T) {
	s := labWithOneNode(t, 4)                    // three managers and a worker, which sees only the networks that it is on
	before := s.MockApp("before", "before.test") // on the bridge that node-1 had before it shared anything
	s.Deploy(before)
	for _, node := range s.Lab.Nodes[1:] {
		joinNetwork(t, s, node)
	}
	spec := s.MockApp("web", "web.test")
	spec.Replicas = 8
	s.Deploy(spec)
	nodes, answered := map[string]bool{}, map[string]bool{}
	for _, c := range s.Service("web").Containers {
		nodes[c.NodeID] = true
	}
	stand.Eventually(t, 60*time.Second, "every replica has answered through the edge", func() error {
		answer := s.Get("web.test", "/")
		answer.MustBe(200)
		for i := range spec.Replicas {
			if name := fmt.Sprintf("web-%d", i); strings.Contains(answer.Body, "hostname: "+name) {
				answered[name] = true
			}
		}
		if len(answered) < spec.Replicas || len(nodes) != 4 {
			return fmt.Errorf("%d nodes, answered: %v", len(nodes), answered)
		}
		return nil
	})
	s.Get("before.test", "/").MustBe(200)

	// By its name the service is found from each node, with the replicas of all.
	for _, c := range s.Service("web").Detail {
		mustLeadTo(t, s, c, "web", spec.Replicas)
	}
	s.Spawner.Restart()
	s.Get("web.test", "/").MustBe(200)
	s.Remove("web")
	s.Remove("before")
}

// mustLeadTo fails the test unless a name leads, from inside of a replica, to so
// many addresses; engines tell each other of them by and by.
func mustLeadTo(t *testing.T, s *stand.Stand, from fleet.ReplicaDetail, name string, replicas int) {
	t.Helper()
	stand.Eventually(t, 30*time.Second, fmt.Sprintf("%s leads to %d replicas from %s on %s", name, replicas, from.Name, from.NodeID), func() error {
		if found, err := lookUp(t, s, from, name); err != nil || found != replicas {
			return fmt.Errorf("it leads to %d, %v", found, err)
		}
		return nil
	})
}

// lookUp asks Docker's DNS from inside of a replica how many addresses a name has.
func lookUp(t *testing.T, s *stand.Stand, c fleet.ReplicaDetail, name string) (int, error) {
	t.Helper()
	node, err := s.Lab.Node(c.NodeID)
	if err != nil {
		t.Fatal(err)
	}
	namespace := "/proc/" + dockerOn(t, node, "inspect", "-f", "{{.State.Pid}}", c.SandboxID) + "/ns/net"
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return lab.Dial(namespace, "127.0.0.11:53")
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	addresses, err := resolver.LookupNetIP(ctx, "ip4", name+".")
	return len(addresses), err
}
