package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"edgespawner/fleet"
)

// applicationID marks a file as a spawner's: "spwn".
const applicationID = 0x7370776e

//go:embed migrations/*.sql
var files embed.FS

// migration is one step of the schema; its version is its place in the list, from 1.
type migration struct {
	name string
	sql  string
}

// embedded returns the migrations that this binary knows, in order.
func embedded() []migration { return read(files) }

// read returns the migrations of a file system. They are named 0001_what.sql and
// so on without a gap; that is a promise of the source, so a breach of it panics.
func read(from fs.FS) []migration {
	names, err := fs.Glob(from, "migrations/*.sql") // sorted
	if err != nil {
		panic(err)
	}
	var steps []migration
	for i, name := range names {
		base := path.Base(name)
		if !strings.HasPrefix(base, fmt.Sprintf("%04d_", i+1)) {
			panic(fmt.Sprintf("migration %s should be number %d", base, i+1))
		}
		text, err := fs.ReadFile(from, name)
		if err != nil {
			panic(err)
		}
		steps = append(steps, migration{name: strings.TrimSuffix(base, ".sql"), sql: string(text)})
	}
	return steps
}

// queryer is what a connection and a transaction have in common.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schemaVersion returns the version of the schema of a database, 0 for an empty
// one, and a Conflict for one that this binary must not touch.
func schemaVersion(ctx context.Context, db queryer, path string, newest int) (int, error) {
	var version, application, tables int
	err := db.QueryRowContext(ctx, "SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version v, pragma_application_id a").
		Scan(&version, &application, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("cannot read the schema of %s: %w", path, explain(err))
	case version == 0 && application == 0 && tables == 0:
		return 0, nil
	case application != applicationID:
		return 0, fleet.Errorf(fleet.Conflict, "%s is the database of another program", path)
	case version > newest:
		return 0, fleet.Errorf(fleet.Conflict,
			"%s was written by a newer spawner (schema %d, this binary knows up to %d): use that version again, or restore the copy %s.before-%d that the upgrade made",
			path, version, newest, path, newest+1)
	}
	return version, nil
}

// migrate brings the schema up to date in one transaction. An existing database
// is copied first, to <path>.before-<the first version that is applied>.
func (s *Store) migrate(ctx context.Context, conn *sql.Conn, steps []migration) error {
	from, err := schemaVersion(ctx, conn, s.path, len(steps))
	if err != nil || from == len(steps) {
		return err
	}
	if from > 0 {
		target := fmt.Sprintf("%s.before-%d", s.path, from+1)
		if err := copyInto(ctx, conn, target, replace); err != nil {
			return fmt.Errorf("cannot copy the database before its upgrade: %w", err)
		}
		s.log.Info("Upgrading the database", "from", from, "to", len(steps), "copy", target)
	}
	if err := s.applyAll(ctx, conn, steps); err != nil {
		return fmt.Errorf("cannot upgrade the database %s: %w", s.path, err)
	}
	if from > 0 {
		s.log.Info("Upgraded the database", "from", from, "to", len(steps))
	}
	return nil
}

// applyAll applies what is missing. The version is read again inside the
// transaction: another process may have been faster.
func (s *Store) applyAll(ctx context.Context, conn *sql.Conn, steps []migration) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	from, err := schemaVersion(ctx, tx, s.path, len(steps))
	if err != nil {
		return err
	}
	for _, step := range steps[from:] {
		if _, err := tx.ExecContext(ctx, step.sql); err != nil {
			return fmt.Errorf("migration %s: %w", step.name, explain(err))
		}
	}
	var broken int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("rows that would refer to nothing: %d", broken)
	}
	mark := fmt.Sprintf("PRAGMA user_version = %d; PRAGMA application_id = %d", len(steps), applicationID)
	if _, err := tx.ExecContext(ctx, mark); err != nil {
		return err
	}
	return tx.Commit()
}
