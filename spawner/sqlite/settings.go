package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// Settings is the view of what a fleet is told or makes up once, by key.
type Settings struct{ store *Store }

// Settings returns the view of settings.
func (s *Store) Settings() Settings { return Settings{s} }

// Get returns the value of a key, and whether it is set.
func (v Settings) Get(ctx context.Context, key string) (value string, set bool, err error) {
	err = v.store.reader.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = ?", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, failed(err, "read setting %q", key)
}

// Set sets a key, whether or not it was set.
func (v Settings) Set(ctx context.Context, key, value string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", key, value)
		return err
	})
	return failed(err, "store setting %q", key)
}
