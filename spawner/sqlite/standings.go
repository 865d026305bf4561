package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"edgespawner/fleet"
)

// Standings is the view of where replicas stand.
type Standings struct{ store *Store }

// Standings returns the view of where replicas stand.
func (s *Store) Standings() Standings { return Standings{s} }

// List returns all of them, by node and app.
func (v Standings) List(ctx context.Context) ([]fleet.Standing, error) {
	list, err := query(ctx, v.store.reader, scanStanding, "SELECT standing FROM standings ORDER BY node, app")
	return list, failed(err, "list where replicas stand")
}

// Change stores some and forgets others, in one transaction. It is a note: what
// the last moments before a loss of power changed may be lost.
func (v Standings) Change(ctx context.Context, put, drop []fleet.Standing) error {
	err := v.store.write(ctx, noted, func(tx *sql.Tx) error {
		for _, s := range drop {
			if _, err := tx.ExecContext(ctx, "DELETE FROM standings WHERE node = ? AND app = ?", s.Node, s.AppName); err != nil {
				return err
			}
		}
		for _, s := range put {
			text, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO standings (node, app, standing) VALUES (?, ?, ?)", s.Node, s.AppName, string(text)); err != nil {
				return err
			}
		}
		return nil
	})
	return failed(err, "store where replicas stand")
}

func scanStanding(row scanner) (fleet.Standing, error) {
	var standing fleet.Standing
	var text string
	if err := row.Scan(&text); err != nil {
		return standing, err
	}
	if err := json.Unmarshal([]byte(text), &standing); err != nil {
		return standing, fmt.Errorf("where a replica stands is not readable: %w", err)
	}
	return standing, nil
}
