package sqlite

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"edgespawner/fleet"
)

// fileLock is a lock on <database>.lock; the kernel gives it back when the
// process dies. It is not taken on the database itself: closing any descriptor
// of that would drop SQLite's own locks.
type fileLock struct{ file *os.File }

// lockShared marks the database as in use.
func lockShared(database string) (*fileLock, error) {
	return lock(database, syscall.LOCK_SH, "the database %s is being restored: try again when that has ended")
}

// lockExclusive makes sure that nobody uses the database.
func lockExclusive(database string) (*fileLock, error) {
	return lock(database, syscall.LOCK_EX, "the database %s is in use: stop the spawner first")
}

func lock(database string, how int, taken string) (*fileLock, error) {
	file, err := os.OpenFile(database+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the database: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if err == nil {
		return &fileLock{file: file}, nil
	}
	_ = file.Close() // the first error is the one to tell
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fleet.Errorf(fleet.Conflict, taken, database)
	}
	return nil, fmt.Errorf("cannot lock the database %s: %w", database, err)
}

// release gives the lock back; nil for no lock.
func (l *fileLock) release() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
