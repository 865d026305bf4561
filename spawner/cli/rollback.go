package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

func (a *app) rollback() *cobra.Command {
	var revision int
	cmd := &cobra.Command{
		Use:               "rollback NAME",
		Short:             "Bring an earlier revision back",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeServices(false),
	}
	cmd.Flags().IntVar(&revision, "to", 0, "the `revision` (default: the newest that succeeded before the one in service)")
	detach := detachable(cmd)
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if cmd.Flags().Changed("to") && revision < 1 {
			return usagef(cmd, "--to: revisions are numbered from 1, not %d", revision)
		}
		accepted, err := c.Rollback(cmd.Context(), args[0], revision)
		if err != nil {
			return err
		}
		return a.follow(cmd.Context(), c, accepted, *detach)
	})
	return a.remote(cmd)
}
