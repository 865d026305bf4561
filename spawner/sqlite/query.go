package sqlite

import (
	"context"
	"database/sql"
)

// scanner is one row.
type scanner interface {
	Scan(into ...any) error
}

// rowsQueryer is what a pool of connections and a transaction have in common.
type rowsQueryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query returns all rows of a statement; none is an empty slice that marshals as [].
func query[T any](ctx context.Context, db rowsQueryer, scan func(scanner) (T, error), statement string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
