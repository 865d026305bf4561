package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

func (a *app) sleep() *cobra.Command {
	return a.verb(&cobra.Command{
		Use:   "sleep",
		Short: "Put services to sleep; the next request wakes them",
	}, (*client.Client).Sleep)
}
