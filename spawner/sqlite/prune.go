package sqlite

import (
	"context"
	"database/sql"
)

// pruneBatch is the number of rows deleted in one transaction, so that other
// writes get their turn in between.
const pruneBatch = 1000

// condition is one reason to delete rows; it is left out unless it is active.
type condition struct {
	active bool
	where  string // with one parameter
	arg    int64
}

// prune deletes the rows of a table that meet a condition, oldest first.
func (s *Store) prune(ctx context.Context, table, key string, conditions []condition) (deleted int, err error) {
	for _, one := range conditions {
		if !one.active {
			continue
		}
		statement := "DELETE FROM " + table + " WHERE " + key + " IN (SELECT " + key + " FROM " + table +
			" WHERE " + one.where + " ORDER BY " + key + " LIMIT ?)"
		for batch := int64(pruneBatch); batch == pruneBatch; {
			err := s.write(ctx, noted, func(tx *sql.Tx) error {
				result, err := tx.ExecContext(ctx, statement, one.arg, pruneBatch)
				if err != nil {
					return err
				}
				batch, err = result.RowsAffected()
				return err
			})
			if err != nil {
				return deleted, err
			}
			deleted += int(batch)
		}
	}
	return deleted, nil
}
