package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) node() *cobra.Command {
	node := &cobra.Command{Use: "node", Short: "The engines that replicas are placed on", Args: knownCommand, RunE: showHelp}
	node.AddCommand(a.nodeAdd(), a.nodeLs(), a.nodeDrain(), a.nodeResume(), a.nodeRm())
	return node
}

func (a *app) nodeLs() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the nodes",
		Long: `List the nodes: what each has, what its replicas have reserved of it, asleep or
awake, and what the containers of the fleet use of it now. SEEN is when its engine
last answered: it is asked each second.`,
		Args: exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			nodes, err := c.NodesInUse(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, nodes)
			}
			defer a.printNotes(nodes)
			return nodesTable(nodes).print(a.Out)
		}),
	})
}

func nodesTable(nodes []fleet.Node) *table {
	t := newTable("NAME", "STATE", "REPLICAS", "CPUS", "RESERVED", "USED", "MEMORY", "RESERVED", "USED", "ENGINE", "ENDPOINT", "LABELS", "SEEN")
	for _, node := range nodes {
		state := string(node.State)
		if node.Draining {
			state += ", draining"
		}
		if node.State == fleet.NodeReady && node.SwarmWaits() != "" {
			state += ", waits for its swarm"
		}
		usedCPU, usedMemory := "", ""
		if node.Used != nil {
			usedCPU, usedMemory = showShares(node.Used.CPUShares), showMemory(int64(node.Used.MemoryMB))
		}
		t.row(node.Name, state, node.Replicas, node.CPUs, showShares(node.Reserved.CPUShares), usedCPU,
			showMemory(node.MemoryMB), showMemory(int64(node.Reserved.MemoryMB)), usedMemory,
			node.Version, node.Endpoint, showLabels(node.Labels), showMoment(node.SeenAt))
	}
	return t
}

// showShares is a number of CPUs, of which one has 1024 shares.
func showShares(shares int) string { return fmt.Sprintf("%.1f", float64(shares)/1024) }

func showMemory(megabytes int64) string {
	switch {
	case megabytes == 0:
		return ""
	case megabytes < 1024:
		return fmt.Sprintf("%d MiB", megabytes)
	default:
		return fmt.Sprintf("%.1f GiB", float64(megabytes)/1024)
	}
}

// printNotes says what is wrong with nodes.
func (a *app) printNotes(nodes []fleet.Node) {
	for _, node := range nodes {
		if node.Note != "" {
			fmt.Fprintf(a.Err, "%s: %s\n", node.Name, printable(node.Note))
		}
		if why := node.SwarmWaits(); why != "" {
			fmt.Fprintf(a.Err, "%s: cannot use the network that nodes share yet: %s\n", node.Name, printable(why))
		}
	}
	if risk := soleManager(nodes); risk != "" {
		fmt.Fprintln(a.Err, printable(risk))
	}
}

// soleManager says that the network which nodes share hangs by one of them; empty = it
// does not, or no two share one.
func soleManager(nodes []fleet.Node) string {
	shared, managers := 0, []string(nil)
	for _, node := range nodes {
		if node.Swarm == nil {
			continue
		}
		shared++
		if node.Swarm.Manager {
			managers = append(managers, node.Name)
		}
	}
	if shared != 2 || len(managers) != 1 {
		return ""
	}
	return fmt.Sprintf("%s in the shared network, with one manager: while node %s is away, nothing new starts on it. With three nodes there one may be lost", fleet.CountedAre(shared, "node"), managers[0])
}

func showLabels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}

// drainPause lies between two looks at a node that is being drained.
const drainPause = 500 * time.Millisecond

// drainJobs is how many of the newest jobs are looked through for a drain that has just been asked for.
const drainJobs = 50

func (a *app) nodeDrain() *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "drain NAME",
		Short: "Move the replicas of a node away and let nothing new on it",
		Long: `Move the replicas of a node away and let nothing new on it.

It waits until none is left there; --no-wait does not.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeNodes(),
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until no replica is left there")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		node, err := c.DrainNode(cmd.Context(), args[0])
		if err == nil && !noWait {
			node, err = a.awaitDrained(cmd.Context(), c, node)
		}
		if err != nil {
			return err
		}
		return a.printNode(node, fmt.Sprintf("Node %s is draining: %s there", node.Name, fleet.CountedAre(node.Replicas, "replica")))
	})
	return a.remote(cmd)
}

// awaitDrained returns the node once no replica is left on it, and what was
// replaced has been removed from there.
func (a *app) awaitDrained(ctx context.Context, c *client.Client, node fleet.Node) (fleet.Node, error) {
	id, err := drainOf(ctx, c, node.Name)
	if err != nil {
		return node, err
	}
	told := -1
	for {
		if node, err = c.Node(ctx, node.Name); err != nil {
			return node, err
		}
		if node.Replicas == 0 {
			if runs, err := drainRuns(ctx, c, id); err != nil || !runs {
				return node, err
			}
		}
		if !node.Draining {
			return node, fmt.Errorf("node %s was resumed while it was drained", node.Name)
		}
		if err := drainFailed(ctx, c, node.Name, id); err != nil {
			return node, err
		}
		if node.Replicas != told && !a.json {
			told = node.Replicas
			fmt.Fprintf(a.Err, "%s still on node %s\n", fleet.CountedAre(told, "replica"), node.Name)
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return node, ctx.Err()
		}
	}
}

// drainRuns says whether that drain has not ended yet.
func drainRuns(ctx context.Context, c *client.Client, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	job, err := c.Job(ctx, id)
	return err == nil && !job.State.Ended(), err
}

// drainOf is the id of the newest drain of a node; empty when there was none lately.
func drainOf(ctx context.Context, c *client.Client, node string) (id string, err error) {
	jobs, err := c.Jobs(ctx, "", drainJobs)
	for _, job := range jobs { // newest first
		if job.Kind == fleet.JobDrain && job.Node == node {
			return job.ID, err
		}
	}
	return "", err
}

// drainFailed is why a drain has ended without moving all; nil while it goes on.
func drainFailed(ctx context.Context, c *client.Client, node, id string) error {
	if id == "" {
		return nil
	}
	job, err := c.Job(ctx, id)
	if err == nil && (job.State == fleet.JobFailed || job.State == fleet.JobCanceled) {
		return fmt.Errorf("node %s is draining, and not all replicas could be moved: %s (spawner jobs show %s)", node, job.Error, id)
	}
	return err
}

func (a *app) nodeResume() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:               "resume NAME",
		Short:             "Let replicas on a node again",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeNodes(),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			node, err := c.ResumeNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printNode(node, fmt.Sprintf("Node %s takes replicas", node.Name))
		}),
	})
}

func (a *app) nodeRm() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Let a node go; its engine is left as it is",
		Long: `Let a node go; its engine is left as it is.

It is refused while replicas are there, awake or asleep: drain the node first.
The spawner's own node is always refused.

With --force what stands there is moved if the engine answers, and else given
up and placed elsewhere. Services that write to volumes go too, to volumes that
are empty; what the old ones hold stays on the engine. What fits nowhere else
loses its place until something fits: 'spawner why NAME' says so.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeNodes(),
	}
	cmd.Flags().BoolVar(&force, "force", false, "although replicas are there: they are placed elsewhere")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if err := c.RemoveNode(cmd.Context(), args[0], force); err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]string{"name": args[0], "result": "ok"})
		}
		fmt.Fprintf(a.Out, "Removed node %s\n", args[0])
		return nil
	})
	return a.remote(cmd)
}

func (a *app) printNode(node fleet.Node, line string) error {
	if a.json {
		return a.printJSON(node)
	}
	fmt.Fprintln(a.Out, printable(line))
	return nil
}

// completeNodes offers the names of nodes to a shell.
func (a *app) completeNodes() cobra.CompletionFunc {
	return completeNames(a, false, (*client.Client).Nodes, func(node fleet.Node) (name, state string) {
		return node.Name, string(node.State)
	})
}

// showHelp is what a command does that only holds others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
