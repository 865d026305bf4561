package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"edgespawner/fleet"
)

// Services is the view of what should be: services and their revisions.
type Services struct{ store *Store }

// Services returns the view of services.
func (s *Store) Services() Services { return Services{s} }

const desiredColumns = "name, revision, replicas, power, removing, created_at, changed_at"

// Load returns every service, by name.
func (v Services) Load(ctx context.Context) ([]fleet.Desired, error) {
	all, err := query(ctx, v.store.reader, scanDesired,
		"SELECT "+desiredColumns+" FROM services ORDER BY name")
	return all, failed(err, "load the services")
}

// AddRevision stores a new revision of revision.Spec.Name, its service if that is
// new (awake, with the spec's replicas), and the job that rolls it out. It returns
// the number given, which the stored job carries too. It is a Conflict when the
// service is being removed or the job's id is taken.
func (v Services) AddRevision(ctx context.Context, revision fleet.Revision, job fleet.Job) (int, error) {
	name := revision.Spec.Name
	number := 0
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		if err := ensureService(ctx, tx, revision); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE service = ?", name).Scan(&number)
		if err != nil {
			return err
		}
		revision.Service, revision.Number = name, number
		if err := insertRevision(ctx, tx, revision); err != nil {
			return err
		}
		job.Service, job.Revision = name, number
		return insertJob(ctx, tx, job)
	})
	if err != nil {
		return 0, failed(err, "store a revision of service %q", name)
	}
	return number, nil
}

// ensureService stores the service of a revision unless it is there.
func ensureService(ctx context.Context, tx *sql.Tx, revision fleet.Revision) error {
	var removing bool
	err := tx.QueryRowContext(ctx, "SELECT removing FROM services WHERE name = ?", revision.Spec.Name).Scan(&removing)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		at := orNow(revision.CreatedAt)
		return insertDesired(ctx, tx, fleet.Desired{Name: revision.Spec.Name, Replicas: revision.Spec.Replicas,
			Power: fleet.PowerAwake, CreatedAt: at, ChangedAt: at})
	case err != nil:
		return err
	case removing:
		return fleet.Errorf(fleet.Conflict, "service %q is being removed: deploy it again when that has ended", revision.Spec.Name)
	}
	return nil
}

// Adopt stores a service that was found running, with its revision in service
// under the number that it had: how a lost database is rebuilt. It is a Conflict
// when there is a service of that name.
func (v Services) Adopt(ctx context.Context, desired fleet.Desired, revision fleet.Revision) error {
	revision.Service, desired.Revision = desired.Name, revision.Number
	desired.CreatedAt, desired.ChangedAt = orNow(desired.CreatedAt), orNow(desired.ChangedAt)
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		if err := insertDesired(ctx, tx, desired); err != nil {
			return err
		}
		return insertRevision(ctx, tx, revision)
	})
	if duplicate(err) {
		return fleet.Errorf(fleet.Conflict, "there is a service %q already", desired.Name)
	}
	return failed(err, "adopt service %q", desired.Name)
}

// Save stores the desired state of a service that exists; CreatedAt stays as it
// was, and a zero ChangedAt means now.
func (v Services) Save(ctx context.Context, desired fleet.Desired) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx,
			"UPDATE services SET revision = ?, replicas = ?, power = ?, removing = ?, changed_at = ? WHERE name = ?",
			desired.Revision, desired.Replicas, desired.Power, desired.Removing, stamp(orNow(desired.ChangedAt)), desired.Name)
		return touched(result, err, "service", desired.Name)
	})
	return failed(err, "save service %q", desired.Name)
}

// Delete removes the service with its revisions and their env; its jobs and events stay.
func (v Services) Delete(ctx context.Context, name string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM services WHERE name = ?", name)
		return touched(result, err, "service", name)
	})
	return failed(err, "delete service %q", name)
}

func insertDesired(ctx context.Context, tx *sql.Tx, d fleet.Desired) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO services ("+desiredColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
		d.Name, d.Revision, d.Replicas, d.Power, d.Removing, stamp(d.CreatedAt), stamp(d.ChangedAt))
	return err
}

func scanDesired(row scanner) (fleet.Desired, error) {
	var d fleet.Desired
	var created, changed int64
	err := row.Scan(&d.Name, &d.Revision, &d.Replicas, &d.Power, &d.Removing, &created, &changed)
	d.CreatedAt, d.ChangedAt = moment(created), moment(changed)
	return d, err
}

// touched turns a statement that changed no row into NotFound.
func touched(result sql.Result, err error, noun, name string) error {
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		return missing(noun, name)
	}
	return err
}

// missing is the answer for a name that is not there.
func missing(noun, name string) error {
	return fleet.Errorf(fleet.NotFound, "there is no %s %q", noun, name)
}
