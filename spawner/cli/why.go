package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) why() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:               "why NAME",
		Short:             "Say what keeps a service in its state, and what woke it",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeServices(false),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			why, err := c.Why(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(why)
			}
			a.printWhy(why)
			return nil
		}),
	})
}

func (a *app) printWhy(why fleet.Why) {
	fmt.Fprintf(a.Out, "%s is %s\n", why.Service, why.Status)
	for _, reason := range why.Reasons {
		fmt.Fprintf(a.Out, "  %s\n", printable(reason))
	}
	for _, last := range []struct{ what, text string }{{"last wake", why.LastWake}, {"last sleep", why.LastSleep}} {
		if last.text != "" {
			fmt.Fprintf(a.Out, "  %s: %s\n", last.what, printable(last.text))
		}
	}
}
