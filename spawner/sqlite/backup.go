package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edgespawner/fleet"
)

// Backup writes a consistent copy of the database at from to the file to, while
// a spawner may use it; the schema stays that of the spawner. The copy has mode
// 0600 and holds the values of env. It is NotFound without a database, and a
// Conflict when the file exists, when the database is another program's or a
// newer spawner's, or while it is being restored.
func Backup(ctx context.Context, from, to string) error {
	from, err := filepath.Abs(from)
	if err != nil {
		return fmt.Errorf("cannot back up %s: %w", from, err)
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return fleet.Errorf(fleet.NotFound, "there is no database %s", from)
	}
	lock, err := lockShared(from)
	if err != nil {
		return err
	}
	return failed(errors.Join(backup(ctx, from, to), lock.release()), "back %s up to %s", from, to)
}

func backup(ctx context.Context, from, to string) error {
	db, err := connect(ctx, from, 1, writing) // VACUUM INTO only reads, but not on a query-only connection
	if err != nil {
		return err
	}
	defer db.Close()
	version, err := schemaVersion(ctx, db, from, len(embedded()))
	if err != nil {
		return err
	}
	if err := copyInto(ctx, db, to, refuse); err != nil {
		return err
	}
	if version > 0 {
		note(ctx, db, fmt.Sprintf("The database was saved to %s", filepath.Base(to)))
	}
	return nil
}

// note records a backup or a restore in a database, of whatever version, while no
// store is open here. A copy that could not be noted is worth no less.
func note(ctx context.Context, db execer, message string) {
	_, _ = db.ExecContext(ctx, "INSERT INTO events (timestamp, type, service, container, node, message) VALUES (?, ?, '', '', '', ?)",
		stamp(time.Now().UTC()), fleet.EventBackup, message)
}
