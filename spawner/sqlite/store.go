package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"
)

const (
	// busyTimeout is how long a write waits for another process (a backup command, a standby).
	busyTimeout = 10 * time.Second
	// readers is the number of connections that read.
	readers = 4
	// walLimit is the size in bytes that the WAL is cut back to after a checkpoint.
	walLimit = 16 << 20
)

// Store is an open database. Its views implement the ports of their consumers;
// all of it is safe for concurrent use.
type Store struct {
	path   string
	log    *slog.Logger
	lock   *fileLock
	writer *sql.DB // one connection
	reader *sql.DB // readers connections, query only
}

// Open opens the database at path, making it and its directory when they are not
// there, and brings its schema up to date; before that an existing database is
// copied to <path>.before-<version>. It returns a Conflict when a newer spawner
// has written it, when it belongs to another program, or while it is being restored.
func Open(ctx context.Context, path string, log *slog.Logger) (*Store, error) {
	return open(ctx, path, log, embedded())
}

func open(ctx context.Context, path string, log *slog.Logger, steps []migration) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	s := &Store{path: path, log: log}
	defer func() {
		if err != nil {
			_ = s.Close() // the first error is the one to tell
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	if s.lock, err = lockShared(path); err != nil {
		return nil, err
	}
	if err := makePrivate(path); err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	if s.writer, err = connect(ctx, path, 1, writing); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, steps); err != nil {
		return nil, err
	}
	if s.reader, err = connect(ctx, path, readers, reading); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare checks and migrates the schema and sets what belongs to the writer's connection.
func (s *Store) prepare(ctx context.Context, steps []migration) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("cannot open the database %s: %w", s.path, err)
	}
	defer conn.Close()
	if err := s.migrate(ctx, conn, steps); err != nil {
		return err
	}
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil || mode != "wal" {
		return fmt.Errorf("cannot open the database %s: its file system does not support write-ahead logging (journal mode %q, error %w)", s.path, mode, err)
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = "+strconv.Itoa(walLimit)); err != nil {
		return fmt.Errorf("cannot open the database %s: %w", s.path, err)
	}
	return nil
}

// Close closes the database and waits for calls under way.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} { // the writer last: it folds the WAL in
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, s.lock.release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot close the database %s: %w", s.path, err)
	}
	return nil
}

// purpose says what a connection is for.
type purpose int

const (
	writing purpose = iota
	reading
	inspecting // someone else's file, which is not to be changed
)

// connect opens a pool of connections to the file and proves that it can be read.
func connect(ctx context.Context, path string, connections int, as purpose) (*sql.DB, error) {
	options := url.Values{
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_synchronous":  {"NORMAL"}, // write raises it
	}
	switch as {
	case writing:
		// Foreign keys are turned on after the migrations, which may rebuild tables.
		options.Set("_txlock", "immediate")
		options.Set("_secure_delete", "true") // a deleted secret leaves the file
	case reading:
		options.Set("_query_only", "true")
	case inspecting:
		options.Set("mode", "ro")
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite3", name.String())
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, fmt.Errorf("cannot open the database %s: %w", path, explain(err))
	}
	return db, nil
}

// makePrivate makes the file if it is not there and takes all rights of others
// off it; SQLite gives the WAL and its index the mode of the database.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(0o600), file.Close())
}

// durability says what a write survives.
type durability string

const (
	synced durability = "FULL"   // loss of power
	noted  durability = "NORMAL" // kill -9 of the process
)

// write runs change in one transaction of the writing connection.
func (s *Store) write(ctx context.Context, how durability, change func(*sql.Tx) error) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = "+string(how)); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := change(tx); err != nil {
		return err
	}
	return tx.Commit()
}
