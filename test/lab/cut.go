package lab

import (
	"context"
	"fmt"
	"slices"
)

// What a node can be cut from beside the other nodes, by their names.
const (
	CutAll    = "all"    // the whole network: nothing goes in or out
	CutHost   = "host"   // this machine and all that runs on it outside of the lab
	CutEngine = "engine" // only the engine's port: containers go on being reached
)

// Cut drops, silently and both ways, what goes between the node and another
// one, or CutAll, CutHost, CutEngine. Connections stay open and say nothing, as
// when a switch fails. Heal or Mend undoes it.
func (n *Node) Cut(ctx context.Context, from string) error {
	if _, err := n.cutRules(from); err != nil {
		return err
	}
	if slices.Contains(n.state().Cuts, from) {
		return nil
	}
	if err := n.change(func(s *nodeState) { s.Cuts = append(s.Cuts, from) }); err != nil {
		return err
	}
	return n.filter(ctx, "-I", from)
}

// Mend undoes all cuts.
func (n *Node) Mend(ctx context.Context) error {
	for _, from := range n.state().Cuts {
		if err := n.filter(ctx, "-D", from); err != nil {
			return err
		}
	}
	return n.change(func(s *nodeState) { s.Cuts = nil })
}

func (n *Node) filter(ctx context.Context, how, from string) error {
	rules, err := n.cutRules(from)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if err := run(ctx, n.inside(append(iptables(how, rule), "-j", "DROP")...)...); err != nil {
			return err
		}
	}
	return nil
}

// cutRules are table, chain and match of what is dropped in the node's namespace.
func (n *Node) cutRules(from string) ([][]string, error) {
	switch from {
	case CutAll:
		return [][]string{{"raw", "PREROUTING", "-i", "eth0"}, {"raw", "OUTPUT", "-o", "eth0"}, {"mangle", "FORWARD", "-o", "eth0"}}, nil
	case CutEngine:
		port := fmt.Sprint(enginePort)
		return [][]string{{"raw", "PREROUTING", "-i", "eth0", "-p", "tcp", "--dport", port}, {"raw", "OUTPUT", "-o", "eth0", "-p", "tcp", "--sport", port}}, nil
	}
	address := n.lab.HostAddress()
	if from != CutHost {
		other, err := n.lab.Node(from)
		if err != nil {
			return nil, fmt.Errorf("cannot cut %s: %w; or say %s, %s or %s", n.Name, err, CutAll, CutHost, CutEngine)
		}
		if other == n {
			return nil, fmt.Errorf("cannot cut %s from itself", n.Name)
		}
		address = other.Address()
	}
	return [][]string{{"raw", "PREROUTING", "-s", address}, {"raw", "OUTPUT", "-d", address}, {"mangle", "FORWARD", "-d", address}}, nil
}
