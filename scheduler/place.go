// Package scheduler chooses nodes for replicas. It is pure: nodes and a demand
// in, a node or the reason why none fits out; no I/O and no clock.
package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// Demand is what a replica asks of a node.
type Demand struct {
	CPUShares int // 1024 = one CPU; 0 = none
	MemoryMB  int // MiB; 0 = none
}

// filter returns why a node cannot take a demand; "" = it can.
type filter func(node fleet.Node, demand Demand) string

var filters = []filter{answers, takesReplicas, hasCPU, hasMemory}

func answers(node fleet.Node, _ Demand) string {
	if node.State == fleet.NodeSilent {
		return "does not answer"
	}
	return ""
}

func takesReplicas(node fleet.Node, _ Demand) string {
	if node.Draining {
		return "is draining"
	}
	return ""
}

func hasCPU(node fleet.Node, demand Demand) string {
	if all := node.CPUs * 1024; all > 0 && demand.CPUShares > all {
		return fmt.Sprintf("has %d CPU shares, %d are wanted", all, demand.CPUShares)
	}
	return ""
}

func hasMemory(node fleet.Node, demand Demand) string {
	if node.MemoryMB > 0 && int64(demand.MemoryMB) > node.MemoryMB {
		return fmt.Sprintf("has %d MB of memory, %d are wanted", node.MemoryMB, demand.MemoryMB)
	}
	return ""
}

// Place returns the name of the node that fits and has the fewest replicas, the
// first by name among equals. The error says for each reason how many nodes it
// rules out, most frequent first.
func Place(nodes []fleet.Node, demand Demand) (string, error) {
	if len(nodes) == 0 {
		return "", errors.New("there is no node")
	}
	var fitting []fleet.Node
	reasons := map[string]int{}
	for _, node := range nodes {
		if reason := rejects(node, demand); reason != "" {
			reasons[reason]++
			continue
		}
		fitting = append(fitting, node)
	}
	if len(fitting) == 0 {
		return "", errors.New(explain(reasons))
	}
	best := slices.MinFunc(fitting, func(x, y fleet.Node) int {
		return cmp.Or(cmp.Compare(x.Replicas, y.Replicas), strings.Compare(x.Name, y.Name))
	})
	return best.Name, nil
}

func rejects(node fleet.Node, demand Demand) string {
	for _, f := range filters {
		if reason := f(node, demand); reason != "" {
			return reason
		}
	}
	return ""
}

func explain(reasons map[string]int) string {
	type counted struct {
		reason string
		count  int
	}
	var list []counted
	for reason, count := range reasons {
		list = append(list, counted{reason, count})
	}
	slices.SortFunc(list, func(x, y counted) int {
		return cmp.Or(cmp.Compare(y.count, x.count), strings.Compare(x.reason, y.reason))
	})
	parts := make([]string, len(list))
	for i, c := range list {
		noun := "nodes: each"
		if c.count == 1 {
			noun = "node"
		}
		parts[i] = fmt.Sprintf("%d %s %s", c.count, noun, c.reason)
	}
	return strings.Join(parts, "; ")
}
