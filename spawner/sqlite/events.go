package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// Events is the view of recorded facts.
type Events struct{ store *Store }

// Events returns the view of events.
func (s *Store) Events() Events { return Events{s} }

// DefaultEvents is the number of events that a filter without a limit selects.
const DefaultEvents = 100

// Append stores the events in order, all or none, and returns them with their
// ids. A zero timestamp becomes now. The slice given is left as it is.
func (v Events) Append(ctx context.Context, events []fleet.Event) ([]fleet.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	stored := slices.Clone(events)
	err := v.store.write(ctx, noted, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx,
			"INSERT INTO events (timestamp, type, service, container, node, message, by) VALUES (?, ?, ?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		for i := range stored {
			e := &stored[i]
			e.Timestamp = orNow(e.Timestamp)
			result, err := insert.ExecContext(ctx, stamp(e.Timestamp), e.Type, e.Service, e.Container, e.NodeID, e.Message, e.By)
			if err != nil {
				return err
			}
			if e.ID, err = result.LastInsertId(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, failed(err, "store %d events", len(events))
	}
	return stored, nil
}

// List returns the events that the filter selects, by ascending id: after an id
// the ones that follow it, else the newest ones.
func (v Events) List(ctx context.Context, filter fleet.EventFilter) ([]fleet.Event, error) {
	where, args := eventConditions(filter)
	limit := filter.Limit
	if limit <= 0 {
		limit = DefaultEvents
	}
	order := "ASC"
	if filter.After == 0 {
		order = "DESC"
	}
	events, err := query(ctx, v.store.reader, scanEvent,
		"SELECT id, timestamp, type, service, container, node, message, by FROM events WHERE "+
			where+" ORDER BY id "+order+" LIMIT ?", append(args, limit)...)
	if filter.After == 0 {
		slices.Reverse(events)
	}
	return events, failed(err, "list the events")
}

// eventConditions writes a filter as the condition of a query.
func eventConditions(filter fleet.EventFilter) (where string, args []any) {
	conditions := []string{"id > ?"}
	args = []any{filter.After}
	add := func(needed bool, condition string, values ...any) {
		if needed {
			conditions, args = append(conditions, condition), append(args, values...)
		}
	}
	add(filter.Before != 0, "id < ?", filter.Before)
	add(filter.Service != "", "service = ?", filter.Service)
	add(filter.Container != "", "container = ?", filter.Container)
	add(filter.Node != "", "node = ?", filter.Node)
	add(filter.By != "", "by = ?", filter.By)
	add(!filter.Since.IsZero(), "timestamp >= ?", stamp(filter.Since))
	add(!filter.Until.IsZero(), "timestamp < ?", stamp(filter.Until))
	types := make([]any, len(filter.Types))
	for i, one := range filter.Types {
		types[i] = string(one)
	}
	add(len(types) > 0, "type IN (?"+strings.Repeat(", ?", max(0, len(types)-1))+")", types...)
	return strings.Join(conditions, " AND "), args
}

// newestEvent is the id of the newest event that was ever stored.
const newestEvent = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"

// Bounds returns the ids of the oldest event that is kept and of the newest that
// was ever stored; oldest is newest+1 when none is kept.
func (v Events) Bounds(ctx context.Context) (oldest, newest int64, err error) {
	err = v.store.reader.QueryRowContext(ctx,
		"SELECT coalesce((SELECT min(id) FROM events), n.seq + 1), n.seq FROM (SELECT "+newestEvent+" AS seq) n").
		Scan(&oldest, &newest)
	return oldest, newest, failed(err, "look at the bounds of the events")
}

// Prune deletes events from before olderThan (zero = whatever their age) and, of
// those that remain, all but the newest keep (0 = however many). It returns how
// many it deleted. Ids are never given again.
func (v Events) Prune(ctx context.Context, olderThan time.Time, keep int) (int, error) {
	deleted, err := v.store.prune(ctx, "events", "id", []condition{
		{!olderThan.IsZero(), "timestamp < ?", stamp(olderThan)},
		{keep > 0, "id <= (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?)", int64(keep)},
	})
	return deleted, failed(err, "prune the events")
}

func scanEvent(row scanner) (fleet.Event, error) {
	var e fleet.Event
	var at int64
	err := row.Scan(&e.ID, &at, &e.Type, &e.Service, &e.Container, &e.NodeID, &e.Message, &e.By)
	e.Timestamp = moment(at)
	return e, err
}
