package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) whatif() *cobra.Command {
	var kill, scale []string
	cmd := &cobra.Command{
		Use:   "whatif [--kill NODE]… [--scale NAME=N]…",
		Short: "Show what would become of the replicas; nothing is changed",
		Long: `Show what would become of the replicas if nodes were lost and services scaled.

The scheduler that places replicas answers, from what stands at present. Nothing
is changed.`,
		Example: "  spawner whatif --kill node-2 --scale api=10",
		Args:    exactly(),
	}
	cmd.Flags().StringArrayVar(&kill, "kill", nil, "this `node` is lost; may be repeated")
	cmd.Flags().StringArrayVar(&scale, "scale", nil, "a service has so many replicas: `NAME=N`; may be repeated")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		wanted, err := parseScale(scale)
		if err != nil {
			return err
		}
		if len(kill)+len(wanted) == 0 {
			return usagef(cmd, "--kill or --scale is missing")
		}
		answer, err := c.WhatIf(cmd.Context(), fleet.WhatIf{Kill: kill, Scale: wanted})
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(answer)
		}
		return a.printWhatIf(answer)
	})
	return a.remote(cmd)
}

func parseScale(pairs []string) (map[string]int, error) {
	wanted := map[string]int{}
	for _, pair := range pairs {
		name, number, ok := strings.Cut(pair, "=")
		count, err := strconv.Atoi(number)
		if !ok || name == "" || err != nil {
			return nil, fleet.InvalidField("--scale", "%q is not NAME=N, such as api=10", pair)
		}
		wanted[name] = count
	}
	return wanted, nil
}

func (a *app) printWhatIf(answer fleet.WhatIfAnswer) error {
	moves := newTable("REPLICA", "FROM", "TO", "WHY")
	for _, list := range [][]fleet.Move{answer.Unplaced, answer.Placed, answer.Removed} {
		addMoves(moves, list)
	}
	switch len(moves.rows) {
	case 1:
		fmt.Fprintln(a.Out, "No replica would change its place.")
	default:
		if err := moves.print(a.Out); err != nil {
			return err
		}
	}
	fmt.Fprintln(a.Out)
	if err := loadTable(answer.Nodes).print(a.Out); err != nil {
		return err
	}
	if n := len(answer.Unplaced); n > 0 {
		fmt.Fprintf(a.Out, "\n%s would find no place.\n", fleet.Counted(n, "replica"))
	}
	return nil
}

func addMoves(t *table, moves []fleet.Move) {
	for _, move := range moves {
		t.row(move.Replica, move.From, move.To, move.Reason)
	}
}

func loadTable(nodes []fleet.NodeLoad) *table {
	t := newTable("NODE", "REPLICAS", "CPUS RESERVED", "MEMORY RESERVED", "TAKES REPLICAS")
	for _, node := range nodes {
		cpus := fmt.Sprintf("%.3g", float64(node.ReservedCPUShares)/1024)
		if node.CPUShares > 0 {
			cpus += fmt.Sprintf(" of %.3g", float64(node.CPUShares)/1024)
		}
		memory := fmt.Sprintf("%d MB", node.ReservedMemoryMB)
		if node.MemoryMB > 0 {
			memory = fmt.Sprintf("%d of %d MB", node.ReservedMemoryMB, node.MemoryMB)
		}
		takes := "yes"
		if node.Closed != "" {
			takes = "no: " + node.Closed
		}
		t.row(node.Name, node.Replicas, cpus, memory, takes)
	}
	return t
}
