package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/spawner/daemon"
)

func (a *app) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the spawner's database; the spawner must not run",
		Args:  exactly("FILE"),
	}
	stateDir := a.stateful(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := stateDir()
		if err != nil {
			return err
		}
		if err := daemon.Restore(cmd.Context(), dir, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "Restored the state of %s from %s\n", dir, args[0])
		locked, err := daemon.LockedNodes(cmd.Context(), dir)
		if err != nil {
			return err
		}
		if len(locked) > 0 {
			fmt.Fprintf(a.Err, "The credentials of these nodes cannot be read: %s. Put the key file node.key of that time into %s, or give them again with node add --update\n", strings.Join(locked, ", "), dir)
		}
		return nil
	}
	return cmd
}
