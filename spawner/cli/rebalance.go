package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) rebalance() *cobra.Command {
	var onlyPlan, yes bool
	var moves int
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Move replicas to where they stand better",
		Long: `Move replicas to where they stand better, each started there before the old one goes.

The moves are shown first, and made when that is answered with y; --plan shows
them and no more, --yes does not ask. When they are others by then, nothing is
moved. Services whose replicas may not run twice stay where they are.`,
		Args: exactly(),
	}
	cmd.Flags().BoolVar(&onlyPlan, "plan", false, "show the moves, and make none")
	cmd.Flags().IntVar(&moves, "moves", fleet.DefaultMoves, "make at most `n` moves")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	detach := detachable(cmd)
	cmd.RunE = a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
		if moves < 1 {
			return usagef(cmd, "--moves: %d is not 1 or more", moves)
		}
		if a.json && !onlyPlan && !yes {
			return usagef(cmd, "-o json cannot ask: --plan or --yes is missing")
		}
		plan, err := c.Rebalance(cmd.Context(), fleet.Rebalance{Plan: true, Moves: moves})
		if err != nil {
			return err
		}
		if onlyPlan || len(plan.Moves) == 0 {
			return a.printMoves(plan)
		}
		if !yes {
			if err := a.printMoves(plan); err != nil {
				return err
			}
			if !a.agreed(fmt.Sprintf("Make %s? [y/N] ", fleet.Counted(len(plan.Moves), "move"))) {
				return fmt.Errorf("nothing was moved: it was not agreed to; --yes does not ask")
			}
		}
		made, err := c.Rebalance(cmd.Context(), fleet.Rebalance{Moves: moves, ID: plan.ID})
		if err != nil {
			return err
		}
		return a.follow(cmd.Context(), c, fleet.Accepted{Service: "the nodes", JobID: made.JobID}, *detach)
	})
	return a.remote(cmd)
}

func (a *app) printMoves(plan fleet.RebalancePlan) error {
	if a.json {
		return a.printJSON(plan)
	}
	if len(plan.Moves) == 0 {
		fmt.Fprintln(a.Out, "No replica would stand better elsewhere.")
		return nil
	}
	t := newTable("REPLICA", "FROM", "TO", "WHY")
	addMoves(t, plan.Moves)
	return t.print(a.Out)
}

// agreed asks a question and says whether the answer is yes; none is no.
func (a *app) agreed(question string) bool {
	fmt.Fprint(a.Err, question)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil { // nobody has ended the line of the question
		fmt.Fprintln(a.Err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
