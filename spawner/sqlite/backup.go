package sqlite

import "context"

// Backup writes a consistent copy of the database to path while it is in use.
// The copy has mode 0600 and holds the values of env. It is a Conflict when path exists.
func (s *Store) Backup(ctx context.Context, path string) error {
	db, err := connect(ctx, s.path, 1, writing) // VACUUM INTO only reads, but not on a query-only connection
	if err != nil {
		return err
	}
	defer db.Close()
	return failed(copyInto(ctx, db, path, refuse), "back the database up to %s", path)
}
