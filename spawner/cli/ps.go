package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) ps() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "ps",
		Aliases: []string{"ls", "list"},
		Short:   "List the services",
		Args:    exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			services, err := c.Services(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, services)
			}
			return servicesTable(services).print(a.Out)
		}),
	})
}

func servicesTable(services []fleet.Service) *table {
	t := newTable("NAME", "STATUS", "REPLICAS", "HEALTH")
	for _, service := range services {
		t.row(service.Name, service.Status, showReplicas(service), showHealth(service))
	}
	return t
}

// showReplicas writes ready/wanted.
func showReplicas(service fleet.Service) string {
	ready := service.Ready()
	if !serves(service.Status) {
		ready = 0
	}
	return fmt.Sprintf("%d/%d", ready, service.Replicas)
}

// showHealth writes the health of a service whose apps run; there is none to judge otherwise.
func showHealth(service fleet.Service) string {
	if !serves(service.Status) {
		return "-"
	}
	return string(service.Health)
}

// serves says whether replicas can be ready in that status.
func serves(status fleet.Status) bool {
	switch status {
	case fleet.StatusAsleep, fleet.StatusDozing, fleet.StatusStopped:
		return false
	}
	return true
}
