package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

func (a *app) rm() *cobra.Command {
	return a.verb(&cobra.Command{
		Use:     "rm",
		Aliases: []string{"remove"},
		Short:   "Remove services with all their replicas",
	}, (*client.Client).Remove)
}
