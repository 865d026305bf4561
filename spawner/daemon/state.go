package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"edgespawner/spawner/sqlite"
)

// KeyFile is the file that opens the credentials of nodes in the database of a
// state directory; empty when none was needed yet.
func KeyFile(stateDir string) string {
	path := keyFile(stateDir)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// LockedNodes are the nodes of a state directory whose credentials its key file does not open.
func LockedNodes(ctx context.Context, stateDir string) (names []string, err error) {
	store, err := sqlite.Open(ctx, databaseFile(stateDir), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	nodes, err := store.Nodes().List(ctx)
	if err != nil {
		return nil, err
	}
	v := &vault{path: keyFile(stateDir)}
	for _, node := range nodes {
		if len(node.Sealed) == 0 {
			continue
		}
		if _, err := v.open(node.Name, node.Sealed); err != nil {
			names = append(names, node.Name)
		}
	}
	return names, nil
}

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
