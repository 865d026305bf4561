package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/spawner/daemon"
)

func (a *app) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the spawner's database to a file; the spawner may run meanwhile",
		Args:  exactly("FILE"),
	}
	stateDir := a.stateful(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := stateDir()
		if err != nil {
			return err
		}
		if err := daemon.Backup(cmd.Context(), dir, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "Saved the state of %s to %s\n", dir, args[0])
		return nil
	}
	return cmd
}

// stateful gives a command the flag --state-dir of serve, with its twin.
func (a *app) stateful(cmd *cobra.Command) (dir func() (string, error)) {
	flags := cmd.Flags()
	text := flags.String("state-dir", daemon.DefaultStateDir, "the `directory` that the spawner keeps its database in (SPAWNER_STATE_DIR)")
	return func() (string, error) {
		err := daemon.ReadEnvironment(flags, a.LookupEnv)
		return *text, err
	}
}
