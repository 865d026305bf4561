package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) node() *cobra.Command {
	node := &cobra.Command{Use: "node", Short: "The engines that replicas are placed on", Args: knownCommand, RunE: showHelp}
	node.AddCommand(a.nodeLs())
	return node
}

func (a *app) nodeLs() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the nodes",
		Args:    exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			nodes, err := c.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, nodes)
			}
			return nodesTable(nodes).print(a.Out)
		}),
	})
}

func nodesTable(nodes []fleet.Node) *table {
	t := newTable("NAME", "STATE", "REPLICAS", "CPUS", "MEMORY", "ENGINE", "ENDPOINT", "SEEN")
	for _, node := range nodes {
		state, memory := string(node.State), ""
		if node.Draining {
			state += ", draining"
		}
		if node.MemoryMB > 0 {
			memory = fmt.Sprintf("%.1f GiB", float64(node.MemoryMB)/1024)
		}
		t.row(node.Name, state, node.Replicas, node.CPUs, memory, node.Version, node.Endpoint, showMoment(node.SeenAt))
	}
	return t
}

// showHelp is what a command does that only holds others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
