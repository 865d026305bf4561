package stand

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
)

// labTime bounds what is done to a lab.
const labTime = 5 * time.Minute

// WithLab runs the installation on a lab instead of this machine's engine: the
// spawner and the first edge on node-1, each further edge on the next node, as
// processes in the network of a container there. Every node of the lab is a
// node of the fleet. Name and Owned of the options are the stand's.
func WithLab(wanted lab.Options) Option { return func(o *options) { o.lab = &wanted } }

// home is the network of a container on a node, in which an edge or the spawner lives.
type home struct {
	node      *lab.Node
	namespace string // for nsenter --net
}

// enter is how a program is started at home; nil = on this machine.
func (h *home) enter(program string, args []string) (string, []string) {
	if h == nil {
		return program, args
	}
	return "nsenter", append([]string{"--net=" + h.namespace, program}, args...)
}

// startLab starts the engines and makes a home for each edge, and for the spawner.
func (s *Stand) startLab(wanted lab.Options, edges int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	wanted.Name, wanted.Owned = "e2e-"+s.Suffix, true
	l, err := lab.Up(ctx, wanted)
	must(s.t, err, "start a lab")
	s.Lab = l
	must(s.t, l.Load(ctx, MockAppImage, SandboxImage), "load images")
	for i := range max(edges, 1) {
		s.homes = append(s.homes, s.makeHome(ctx, l.Nodes[i]))
	}
}

// makeHome starts the container whose network it is. By its label the spawner
// brings it onto the networks of the services, as it does with an edge.
func (s *Stand) makeHome(ctx context.Context, node *lab.Node) *home {
	s.t.Helper()
	_, err := node.Docker(ctx, "run", "-d", "--name", "home", "--sysctl", edgeSysctl(s.t),
		"--label", fmt.Sprintf("%s=%s", fleet.LabelRole, fleet.RoleEdge), "--label", fleet.LabelFleet+"="+s.FleetID, SandboxImage)
	must(s.t, err, "make a home on %s", node.Name)
	pid, err := node.Docker(ctx, "inspect", "-f", "{{.State.Pid}}", "home")
	must(s.t, err, "find the home on %s", node.Name)
	return &home{node: node, namespace: "/proc/" + pid + "/ns/net"}
}

// home returns the home of an edge by its number; nil on this machine.
func (s *Stand) home(edge int) *home {
	if s.Lab == nil {
		return nil
	}
	return s.homes[edge]
}

// ports are those of the spawner and the edges, with the home of each.
func (s *Stand) ports(api int) map[int]*home {
	owners := map[int]*home{api: s.homes[0], s.Spawner.fallbackPort: s.homes[0]}
	for i, edge := range s.Edges {
		for _, port := range []int{edge.webPort, edge.webSecurePort, edge.metricsPort} {
			owners[port] = s.homes[i]
		}
	}
	return owners
}

// connectHomes makes each port of the spawner and the edges reachable at the
// same address, 127.0.0.1, in every home and on this machine.
func (s *Stand) connectHomes(owners map[int]*home) {
	s.t.Helper()
	for port, owner := range owners {
		for _, from := range append([]*home{{}}, s.homes...) {
			if from == owner {
				continue
			}
			listener, err := lab.Listen(from.namespace, loopback(port))
			must(s.t, err, "listen at a home")
			s.forwards = append(s.forwards, handOnAll(listener, func() (net.Conn, error) { return lab.Dial(owner.namespace, loopback(port)) }))
		}
	}
}

// AddNodes makes every node of the lab but the spawner's own a node of the fleet.
func (s *Stand) AddNodes() {
	s.t.Helper()
	for _, node := range s.Lab.Nodes[1:] {
		s.AddNode(node)
	}
}

// AddNode makes a node of the lab a node of the fleet, and waits until it is ready.
func (s *Stand) AddNode(node *lab.Node) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	_, err := s.Client.AddNode(ctx, s.NodeSpec(node))
	must(s.t, err, "add %s", node.Name)
	s.WaitNode(node.Name, readyTime, fleet.NodeReady)
}

// NodeSpec is what a node of the lab is added with.
func (s *Stand) NodeSpec(node *lab.Node) fleet.NodeSpec {
	s.t.Helper()
	read := func(file string) string {
		text, err := os.ReadFile(file)
		must(s.t, err, "read a certificate")
		return string(text)
	}
	return fleet.NodeSpec{
		Name: node.Name, Endpoint: node.Endpoint(), Address: node.Address(),
		TLS: &fleet.NodeTLS{CA: read(s.Lab.CAFile()), Cert: read(s.Lab.CertFile()), Key: fleet.Secret(read(s.Lab.KeyFile()))},
	}
}

// Break does something to a node of the lab that may take a while, such as Heal.
func (s *Stand) Break(what string, deed func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	must(s.t, deed(ctx), "%s", what)
}

// KillNode takes the power of a node away, and of the spawner and the edge that live there.
func (s *Stand) KillNode(node *lab.Node) {
	s.t.Helper()
	for i, edge := range s.Edges {
		if s.homes[i].node == node {
			edge.Kill()
		}
	}
	if s.homes[0].node == node {
		s.Spawner.Kill()
	}
	s.Break("kill "+node.Name, node.Kill)
}

// Node returns what the API says of a node.
func (s *Stand) Node(name string) fleet.Node {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	node, err := s.Client.Node(ctx, name)
	must(s.t, err, "ask for node %s", name)
	return node
}

// WaitNode waits until a node is in one of the states.
func (s *Stand) WaitNode(name string, within time.Duration, wanted ...fleet.NodeState) {
	s.t.Helper()
	Eventually(s.t, within, fmt.Sprintf("%s is %v", name, wanted), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		node, err := s.Client.Node(ctx, name)
		if err != nil {
			return err
		}
		for _, state := range wanted {
			if node.State == state {
				return nil
			}
		}
		return fmt.Errorf("it is %s", node.State)
	})
}

// onNodes runs the docker command on every node of the lab whose engine answers,
// and returns all words that it printed.
func (s *Stand) onNodes(args ...string) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	var words []string
	for _, node := range s.Lab.Nodes {
		if state := node.State(ctx); state != "up" && state != "cut" {
			continue
		}
		said, err := node.Docker(ctx, args...)
		must(s.t, err, "ask %s", node.Name)
		words = append(words, strings.Fields(said)...)
	}
	return words
}

// explainLab shows what stands on the nodes.
func (s *Stand) explainLab() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, node := range s.Lab.Nodes {
		state := node.State(ctx)
		if state == "frozen" || state == "dead" || state == "down" {
			s.t.Logf("%s is %s", node.Name, state)
			continue
		}
		said, err := node.Docker(ctx, "ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}")
		if err != nil {
			said = err.Error()
		}
		s.t.Logf("%s is %s; its containers:\n%s", node.Name, state, said)
	}
}

// takeLabDown removes the lab, whatever state it is in.
func (s *Stand) takeLabDown() {
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	for _, end := range s.forwards {
		end()
	}
	if err := s.Lab.Down(ctx); err != nil {
		s.t.Logf("cannot take the lab down: %v", err)
	}
}
