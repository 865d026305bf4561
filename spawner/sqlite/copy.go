package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"edgespawner/fleet"
)

// placement says what becomes of a file that stands where a copy is to go.
type placement int

const (
	refuse placement = iota
	replace
)

// execer runs a statement.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// copyInto writes a consistent copy of the database that db is connected to, with
// mode 0600. The target appears whole and synced, or not at all.
func copyInto(ctx context.Context, db execer, target string, existing placement) error {
	if _, err := os.Lstat(target); err == nil && existing == refuse {
		return fleet.Errorf(fleet.Conflict, "%s exists already", target)
	}
	part, err := vacuumBeside(ctx, db, target)
	if err != nil {
		return err
	}
	defer os.Remove(part) // does nothing once it has been renamed
	if existing == replace {
		err = os.Rename(part, target)
	} else {
		err = linkNew(part, target)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(target))
}

// vacuumBeside writes the copy under a temporary name in target's directory.
func vacuumBeside(ctx context.Context, db execer, target string) (part string, err error) {
	file, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*.part") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(file.Name()) // the first error is the one to tell
		}
	}()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", file.Name()); err != nil {
		return "", fmt.Errorf("cannot write %s: %w", target, explain(err))
	}
	return file.Name(), file.Sync()
}

// linkNew gives part the name target unless something has it by now. A file
// system without hard links cannot promise that in one step.
func linkNew(part, target string) error {
	err := os.Link(part, target)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fleet.Errorf(fleet.Conflict, "%s exists already", target)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return os.Rename(part, target)
	}
	return err
}

// syncDirectory makes the names in a directory durable.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
