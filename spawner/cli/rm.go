package cli

import (
	"context"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) rm() *cobra.Command {
	var volumes bool
	cmd := &cobra.Command{
		Use:     "rm",
		Aliases: []string{"remove"},
		Short:   "Remove services with all their replicas",
		Long: `Remove services with all their replicas.

Their volumes stay, for a later deploy. With --volumes those go too that the
spawner has made and that no other service uses.`,
	}
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove the volumes too; what they hold is lost")
	return a.verb(cmd, func(c *client.Client, ctx context.Context, name string) (fleet.Accepted, error) {
		if volumes {
			return c.RemoveWithVolumes(ctx, name)
		}
		return c.Remove(ctx, name)
	})
}
