package sqlite

import (
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"

	"edgespawner/fleet"
)

// failed wraps err with what was not done. An *fleet.Error passes as it is, and
// a full disk or a database that stays locked becomes Unavailable. Nil stays nil.
func failed(err error, format string, args ...any) error {
	var known *fleet.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	err = fmt.Errorf("cannot "+format+": %w", append(args, explain(err))...)
	var code sqlite3.Error
	if errors.As(err, &code) && (code.Code == sqlite3.ErrFull || code.Code == sqlite3.ErrBusy) {
		return &unavailable{shown: fleet.Errorf(fleet.Unavailable, "%v", err), cause: err}
	}
	return err
}

// unavailable shows a person an *fleet.Error and keeps the cause for errors.Is.
type unavailable struct {
	shown *fleet.Error
	cause error
}

func (e *unavailable) Error() string   { return e.shown.Error() }
func (e *unavailable) Unwrap() []error { return []error{e.shown, e.cause} }

// explain adds to SQLite's terse errors what a person can do about them.
func explain(err error) error {
	var code sqlite3.Error
	if !errors.As(err, &code) {
		return err
	}
	switch code.Code {
	case sqlite3.ErrNotADB, sqlite3.ErrCorrupt:
		return fmt.Errorf("%w (the file is damaged or is no database: restore a backup)", err)
	case sqlite3.ErrFull:
		return fmt.Errorf("%w (make room on the disk)", err)
	case sqlite3.ErrBusy:
		return fmt.Errorf("%w (another process has been writing for %s)", err, busyTimeout)
	}
	return err
}

// duplicate says whether err is a row that is there already.
func duplicate(err error) bool {
	var code sqlite3.Error
	return errors.As(err, &code) &&
		(code.ExtendedCode == sqlite3.ErrConstraintPrimaryKey || code.ExtendedCode == sqlite3.ErrConstraintUnique)
}
