package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"edgespawner/fleet"
)

const revisionColumns = "service, number, spec, by, created_at, image_id, image_digest, outcome"

// Revision returns one revision of a service, env included.
func (v Services) Revision(ctx context.Context, service string, number int) (fleet.Revision, error) {
	found, err := v.revisions(ctx, service, "AND number = ?", number)
	if err == nil && len(found) == 0 {
		if err = v.exists(ctx, service); err == nil {
			err = fleet.Errorf(fleet.NotFound, "service %q has no revision %d", service, number)
		}
	}
	if err != nil {
		return fleet.Revision{}, failed(err, "read revision %d of service %q", number, service)
	}
	return found[0], nil
}

// Revisions returns the revisions of a service, newest first, env included.
func (v Services) Revisions(ctx context.Context, service string) ([]fleet.Revision, error) {
	found, err := v.revisions(ctx, service, "")
	if err == nil && len(found) == 0 {
		err = v.exists(ctx, service)
	}
	return found, failed(err, "read the revisions of service %q", service)
}

// SetRevision records the image that a revision resolved to and its outcome.
func (v Services) SetRevision(ctx context.Context, revision fleet.Revision) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			"UPDATE revisions SET image_id = ?, image_digest = ?, outcome = ? WHERE service = ? AND number = ?",
			revision.ImageID, revision.ImageDigest, revision.Outcome, revision.Service, revision.Number)
		return touched(result, err, "revision", fmt.Sprintf("%s/%d", revision.Service, revision.Number))
	})
	return failed(err, "save revision %d of service %q", revision.Number, revision.Service)
}

// exists returns NotFound unless there is a service of that name.
func (v Services) exists(ctx context.Context, service string) error {
	var one int
	err := v.store.reader.QueryRowContext(ctx, "SELECT 1 FROM services WHERE name = ?", service).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return missing("service", service)
	}
	return err
}

// revisions reads revisions and their env from one state of the database.
func (v Services) revisions(ctx context.Context, service, and string, args ...any) ([]fleet.Revision, error) {
	args = append([]any{service}, args...)
	tx, err := v.store.reader.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // nothing was written
	found, err := query(ctx, tx, scanRevision,
		"SELECT "+revisionColumns+" FROM revisions WHERE service = ? "+and+" ORDER BY number DESC", args...)
	if err != nil {
		return nil, err
	}
	env, err := query(ctx, tx, scanVariable,
		"SELECT e.revision, e.key, e.value FROM env e JOIN revisions r ON r.service = e.service AND r.number = e.revision WHERE e.service = ? "+and, args...)
	if err != nil {
		return nil, err
	}
	byNumber := map[int]map[string]fleet.Secret{}
	for _, one := range env {
		if byNumber[one.revision] == nil {
			byNumber[one.revision] = map[string]fleet.Secret{}
		}
		byNumber[one.revision][one.key] = one.value
	}
	for i := range found {
		found[i].Spec.Env = byNumber[found[i].Number]
	}
	return found, nil
}

// insertRevision stores a revision, its env apart from its spec; the headers of
// its health check are in that.
func insertRevision(ctx context.Context, tx *sql.Tx, r fleet.Revision) error {
	env := r.Spec.Env
	r.Spec.Env = nil
	spec, err := json.Marshal(r.Spec.Reveal())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO revisions ("+revisionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		r.Service, r.Number, string(spec), r.By, stamp(orNow(r.CreatedAt)), r.ImageID, r.ImageDigest, r.Outcome)
	if err != nil {
		return err
	}
	for key, value := range env {
		_, err := tx.ExecContext(ctx, "INSERT INTO env (service, revision, key, value) VALUES (?, ?, ?, ?)",
			r.Service, r.Number, key, value.Reveal())
		if err != nil {
			return err
		}
	}
	return nil
}

// scanRevision reads a revision without its env. A spec is decoded as it was
// accepted: what is checked at the door may have become stricter since.
func scanRevision(row scanner) (fleet.Revision, error) {
	var r fleet.Revision
	var spec string
	var created int64
	if err := row.Scan(&r.Service, &r.Number, &spec, &r.By, &created, &r.ImageID, &r.ImageDigest, &r.Outcome); err != nil {
		return r, err
	}
	r.CreatedAt = moment(created)
	if err := json.Unmarshal([]byte(spec), &r.Spec); err != nil {
		return r, fmt.Errorf("the spec of revision %d is not readable: %w", r.Number, err)
	}
	return r, nil
}

// variable is one entry of a revision's env.
type variable struct {
	revision int
	key      string
	value    fleet.Secret
}

func scanVariable(row scanner) (variable, error) {
	var one variable
	var value string
	err := row.Scan(&one.revision, &one.key, &value)
	one.value = fleet.Secret(value)
	return one, err
}
