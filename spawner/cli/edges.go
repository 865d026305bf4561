package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) edges() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "edges",
		Short: "List the edges and what each has confirmed",
		Args:  exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			edges, err := c.Edges(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, edges)
			}
			return edgesTable(edges).print(a.Out)
		}),
	})
}

func edgesTable(edges []fleet.Edge) *table {
	t := newTable("NAME", "STATE", "RECEIVED", "CONFIRMED", "URL", "SEEN", "NOTE")
	for _, edge := range edges {
		note := edge.Note
		if edge.Refused != "" {
			note = strings.TrimSpace("refused " + edge.Refused + " " + note)
		}
		t.row(edge.Name, edge.State, edge.Received, edge.Confirmed, edge.URL, showMoment(edge.SeenAt), note)
	}
	return t
}
