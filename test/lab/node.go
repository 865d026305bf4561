package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// enginePort is where an engine listens, with TLS, on its node's address.
const enginePort = 2376

// Node is one machine of the lab: an engine in a network namespace.
type Node struct {
	Name string // node-1, node-2, …

	index int // from 0
	lab   *Lab
}

func nodeName(index int) string { return fmt.Sprintf("node-%d", index+1) }

// Address is the node's address on the lab's network.
func (n *Node) Address() string {
	return fmt.Sprintf("10.%d.0.%d", n.lab.state.Octet, firstHost+n.index)
}

// Endpoint is where its engine is reached by those who have a certificate of the lab.
func (n *Node) Endpoint() string { return fmt.Sprintf("tcp://%s:%d", n.Address(), enginePort) }

// Socket is where its engine is reached on this machine, past all networks.
func (n *Node) Socket() string { return filepath.Join(n.dir(), "docker.sock") }

// Namespace is the file of the node's network namespace, for nsenter --net.
func (n *Node) Namespace() string {
	return filepath.Join("/run/netns", "lab-"+n.lab.Name+"-"+n.Name)
}

// Log is the file that its engine writes to.
func (n *Node) Log() string { return filepath.Join(n.dir(), "log") }

func (n *Node) dir() string          { return filepath.Join(n.lab.Dir, n.Name) }
func (n *Node) controlGroup() string { return "/lab-" + n.lab.Name + "-" + n.Name }
func (n *Node) state() *nodeState    { return &n.lab.state.Nodes[n.index] }

// change changes what is written down of the node.
func (n *Node) change(how func(*nodeState)) error {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	how(n.state())
	return n.lab.save()
}

// Docker runs the docker command against the node's engine, past all networks,
// and returns what it wrote.
func (n *Node) Docker(ctx context.Context, args ...string) (string, error) {
	return output(ctx, append([]string{"docker", "-H", "unix://" + n.Socket()}, args...)...)
}

// Kill takes the power away: everything that runs on the node ends at once and
// its network is gone. Its disk stays. Heal starts it again.
func (n *Node) Kill(ctx context.Context) error {
	// The cable goes first, so that nobody outside sees a connection closed.
	if err := removeLink(ctx, n.cable()); err != nil {
		return err
	}
	if err := n.killAll(); err != nil {
		return err
	}
	if err := n.unplug(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(n.execRoot()); err != nil { // it stands for what is in memory
		return fmt.Errorf("cannot empty the memory of %s: %w", n.Name, err)
	}
	return n.change(func(s *nodeState) { s.Cuts = nil })
}

// Heal makes the node whole again, whatever was done to it, and returns when
// its engine answers.
func (n *Node) Heal(ctx context.Context) error {
	if _, err := os.Stat(n.Namespace()); errors.Is(err, os.ErrNotExist) {
		if err := n.plugIn(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(n.Mend(ctx), n.straighten(ctx)); err != nil {
		return err
	}
	if err := n.Thaw(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := n.Free(); err != nil {
		return err
	}
	return n.StartEngine(ctx)
}

// remove takes away all that is of the node.
func (n *Node) remove(ctx context.Context) error {
	if err := n.killAll(); err != nil {
		return err
	}
	if err := n.unplug(ctx); err != nil {
		return err
	}
	if err := n.removeDisk(ctx); err != nil {
		return err
	}
	return n.removeControlGroups()
}

// State says in one word what the node is like: up, cut, frozen, dead (no
// engine), or down (no power).
func (n *Node) State(ctx context.Context) string {
	if _, err := os.Stat(n.Namespace()); err != nil {
		return "down"
	}
	switch engine := n.state().Engine; {
	case !engine.alive():
		return "dead"
	case engine.frozen():
		return "frozen"
	case len(n.state().Cuts) > 0:
		return "cut"
	case n.ping(ctx) != nil:
		return "silent"
	}
	return "up"
}
