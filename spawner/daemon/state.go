package daemon

import (
	"context"

	"edgespawner/spawner/sqlite"
)

// Backup copies the database of a state directory to path, which must not be
// there yet. The spawner may run meanwhile.
func Backup(ctx context.Context, stateDir, path string) error {
	return sqlite.Backup(ctx, databaseFile(stateDir), path)
}

// Restore puts a backup in the place of a state directory's database, which is
// kept beside it. The spawner must not run.
func Restore(ctx context.Context, stateDir, path string) error {
	if err := ensureStateDir(stateDir); err != nil {
		return err
	}
	return sqlite.Restore(ctx, path, databaseFile(stateDir))
}
