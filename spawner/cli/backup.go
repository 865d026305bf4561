package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/daemon"
)

func (a *app) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the spawner's database to a file; the spawner may run meanwhile",
		Long: `Copy the spawner's database to a file; the spawner may run meanwhile.

It works on the spawner's own files, so where that runs in a container it is run
there, and the file is brought out.`,
		Example: `  docker exec "$(./build_project.sh compose ps -q spawner)" spawner backup /tmp/spawner.db
  docker cp "$(./build_project.sh compose ps -q spawner):/tmp/spawner.db" .`,
		Args: exactly("FILE"),
	}
	stateDir := a.stateful(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir, err := stateDir()
		if err != nil {
			return err
		}
		err = daemon.Backup(cmd.Context(), dir, args[0])
		if fleet.KindOf(err) == fleet.NotFound {
			return fmt.Errorf("%w: where the spawner runs in a container, run it there: docker exec CONTAINER spawner backup FILE", err)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "Saved the state of %s to %s\n", dir, args[0])
		if key := daemon.KeyFile(dir); key != "" {
			fmt.Fprintf(a.Err, "The key file %s belongs to it, kept apart: it opens the credentials of the nodes\n", key)
		}
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
