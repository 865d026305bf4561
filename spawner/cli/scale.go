package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
)

func (a *app) scale() *cobra.Command {
	var replicas int
	cmd := &cobra.Command{
		Use:               "scale (NAME --replicas N | NAME=N…)",
		Short:             "Set how many replicas run",
		Example:           "  spawner scale api-server --replicas 5\n  spawner scale api-server=5 worker=0",
		Args:              some("NAME"),
		ValidArgsFunction: a.completeServices(false),
	}
	cmd.Flags().IntVar(&replicas, "replicas", 0, "let `n` copies run; 0 = none")
	detach := detachable(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names, wanted, err := scaleTargets(cmd, args, replicas)
		if err != nil {
			return err
		}
		c, err := a.dial()
		if err != nil {
			return err
		}
		defer hangUp(c)
		return a.eachJob(cmd.Context(), c, *detach, names, func(ctx context.Context, name string) (fleet.Accepted, error) {
			return c.Scale(ctx, name, wanted[name])
		})
	}
	return a.remote(cmd)
}

// scaleTargets reads NAME with --replicas, or NAME=N for each.
func scaleTargets(cmd *cobra.Command, args []string, replicas int) (names []string, wanted map[string]int, err error) {
	given := cmd.Flags().Changed("replicas")
	wanted = map[string]int{}
	for _, arg := range args {
		name, number, paired := strings.Cut(arg, "=")
		count := replicas
		switch {
		case paired && given:
			return nil, nil, usagef(cmd, "%s is given together with --replicas", arg)
		case !paired && !given:
			return nil, nil, usagef(cmd, "%s: --replicas is missing", arg)
		case paired:
			if count, err = strconv.Atoi(number); err != nil {
				return nil, nil, usagef(cmd, "%s: %q is not a number of replicas", arg, number)
			}
		}
		if _, twice := wanted[name]; twice {
			return nil, nil, usagef(cmd, "%s stands twice", name)
		}
		names = append(names, name)
		wanted[name] = count
	}
	return names, wanted, nil
}
