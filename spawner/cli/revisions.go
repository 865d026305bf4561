package cli

import (
	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) revisions() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:               "revisions NAME",
		Short:             "List what was asked for a service, newest first",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeServices(false),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			revisions, err := c.Revisions(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, revisions)
			}
			return revisionsTable(revisions).print(a.Out)
		}),
	})
}

func revisionsTable(revisions []fleet.Revision) *table {
	t := newTable("REVISION", "CREATED", "BY", "IMAGE", "OUTCOME", "DIGEST")
	for _, revision := range revisions {
		digest := revision.ImageDigest
		if digest == "" {
			digest = revision.ImageID
		}
		t.row(revision.Number, showMoment(revision.CreatedAt), revision.By, revision.Spec.Image, revision.Outcome, digest)
	}
	return t
}
