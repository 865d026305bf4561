package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edgespawner/fleet"
)

// Restore puts a copy of the backup at from in the place of the database at to.
// The backup is checked first; the database that was there is kept as
// <to>.before-restore-<time>. At every moment to is one whole database or the
// other. It is a Conflict while a spawner uses the database, NotFound without a
// backup, and Invalid for one that is damaged, not a spawner's, or of a newer one.
func Restore(ctx context.Context, from, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return fmt.Errorf("cannot restore %s: %w", to, err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("cannot restore %s: %w", to, err)
	}
	lock, err := lockExclusive(to)
	if err != nil {
		return err
	}
	return failed(errors.Join(restore(ctx, from, to), lock.release()), "restore %s from %s", to, from)
}

func restore(ctx context.Context, from, to string) error {
	part, err := checkedCopy(ctx, from, to)
	if err != nil {
		return err
	}
	defer os.Remove(part) // does nothing once it has been renamed
	if err := setAside(ctx, to); err != nil {
		return fmt.Errorf("cannot keep the database that is there: %w", err)
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	if db, err := connect(ctx, to, 1, writing); err == nil {
		note(ctx, db, fmt.Sprintf("The database was restored from %s", filepath.Base(from)))
		_ = db.Close()
	}
	return syncDirectory(filepath.Dir(to))
}

// checkedCopy checks the backup and copies it beside to.
func checkedCopy(ctx context.Context, from, to string) (part string, err error) {
	from, err = filepath.Abs(from)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fleet.Errorf(fleet.NotFound, "there is no backup %s", from)
	}
	if err != nil {
		return "", err
	}
	if there, err := os.Stat(to); err == nil && os.SameFile(info, there) {
		return "", fleet.Errorf(fleet.Invalid, "the backup %s is the database itself", from)
	}
	db, err := connect(ctx, from, 1, inspecting)
	if err != nil {
		return "", fleet.Errorf(fleet.Invalid, "%s is not a usable backup: %v", from, err)
	}
	defer db.Close()
	if err := check(ctx, db, from); err != nil {
		return "", fleet.Errorf(fleet.Invalid, "%s is not a usable backup: %v", from, err)
	}
	return vacuumBeside(ctx, db, to)
}

// check says what is wrong with a database.
func check(ctx context.Context, db *sql.DB, path string) error {
	version, err := schemaVersion(ctx, db, path, len(embedded()))
	if err != nil {
		return err
	}
	if version == 0 {
		return errors.New("it is empty")
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return explain(err)
	}
	if verdict != "ok" {
		return fmt.Errorf("it is damaged: %s", verdict)
	}
	var broken int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil {
		return explain(err)
	}
	if broken > 0 {
		return fmt.Errorf("it is damaged: rows that refer to nothing: %d", broken)
	}
	return nil
}

// setAside gives the present database a second name and takes its WAL away, which
// SQLite would else take for that of the database that comes in its place.
func setAside(ctx context.Context, database string) error {
	if _, err := os.Lstat(database); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Closing the last connection folds the WAL in. Where that fails the database
	// is damaged, and its WAL is kept beside it.
	if db, err := connect(ctx, database, 1, writing); err == nil {
		_, _ = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		_ = db.Close()
	}
	aside := database + ".before-restore-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := linkNew(database, aside); err != nil {
		return err
	}
	if err := rename(database+"-wal", aside+"-wal"); err != nil {
		return err
	}
	return rename(database+"-shm", aside+"-shm")
}

// rename is os.Rename for a file that need not be there.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
