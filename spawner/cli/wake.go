package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

func (a *app) wake() *cobra.Command {
	return a.verb(&cobra.Command{
		Use:   "wake",
		Short: "Wake services",
	}, (*client.Client).Wake)
}
