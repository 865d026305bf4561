package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

func (a *app) restart() *cobra.Command {
	return a.verb(&cobra.Command{
		Use:   "restart",
		Short: "Restart the apps of services, replica by replica",
	}, (*client.Client).Restart)
}
