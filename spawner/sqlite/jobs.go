package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// Jobs is the view of accepted work.
type Jobs struct{ store *Store }

// Jobs returns the view of jobs.
func (s *Store) Jobs() Jobs { return Jobs{s} }

const jobColumns = "id, kind, service, revision, replicas, force, state, steps, error, warnings, by, created_at, started_at, ended_at, node, moves"

// DefaultJobs is the number of jobs that List returns when it is given no limit.
const DefaultJobs = 100

// Add stores a new job. It is a Conflict when its id is taken.
func (v Jobs) Add(ctx context.Context, job fleet.Job) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error { return insertJob(ctx, tx, job) })
	return failed(err, "store job %s", job.ID)
}

// Update stores the job as it is now, its steps included. Its end is synced to
// the disk; progress before that is a note.
func (v Jobs) Update(ctx context.Context, job fleet.Job) error {
	how := noted
	if job.State.Ended() {
		how = synced
	}
	steps, warnings, err := encodeJob(job)
	if err == nil {
		err = v.store.write(ctx, how, func(tx *sql.Tx) error {
			result, err := tx.ExecContext(ctx,
				"UPDATE jobs SET revision = ?, replicas = ?, state = ?, steps = ?, error = ?, warnings = ?, started_at = ?, ended_at = ? WHERE id = ?",
				job.Revision, job.Replicas, job.State, steps, job.Error, warnings, stamp(job.StartedAt), stamp(job.EndedAt), job.ID)
			return touched(result, err, "job", job.ID)
		})
	}
	return failed(err, "save job %s", job.ID)
}

// Get returns one job.
func (v Jobs) Get(ctx context.Context, id string) (fleet.Job, error) {
	job, err := scanJob(v.store.reader.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		err = missing("job", id)
	}
	return job, failed(err, "read job %s", id)
}

// List returns jobs, newest first: of one service or, with "", of all; all or
// only those that have not ended. Limit 0 means all unfinished ones, or the newest
// DefaultJobs.
func (v Jobs) List(ctx context.Context, service string, unfinished bool, limit int) ([]fleet.Job, error) {
	if limit <= 0 {
		limit = DefaultJobs
		if unfinished {
			limit = -1 // SQLite's "no limit"
		}
	}
	where, args := "TRUE", []any{}
	if service != "" {
		where, args = "service = ?", append(args, service)
	}
	if unfinished {
		where += " AND state IN ('queued', 'running')"
	}
	jobs, err := query(ctx, v.store.reader, scanJob,
		"SELECT "+jobColumns+" FROM jobs WHERE "+where+" ORDER BY sequence DESC LIMIT ?", append(args, limit)...)
	return jobs, failed(err, "list the jobs")
}

// Prune deletes ended jobs that ended before olderThan (zero = whatever their
// age) and, of the jobs that remain, ended ones that are not among the newest
// keep (0 = however many). It returns how many it deleted.
func (v Jobs) Prune(ctx context.Context, olderThan time.Time, keep int) (int, error) {
	const ended = "state NOT IN ('queued', 'running') AND "
	deleted, err := v.store.prune(ctx, "jobs", "sequence", []condition{
		{!olderThan.IsZero(), ended + "ended_at < ?", stamp(olderThan)},
		{keep > 0, ended + "sequence <= (SELECT sequence FROM jobs ORDER BY sequence DESC LIMIT 1 OFFSET ?)", int64(keep)},
	})
	return deleted, failed(err, "prune the jobs")
}

func insertJob(ctx context.Context, tx *sql.Tx, job fleet.Job) error {
	steps, warnings, err := encodeJob(job)
	if err != nil {
		return err
	}
	moves, err := json.Marshal(job.Moves)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO jobs ("+jobColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		job.ID, job.Kind, job.Service, job.Revision, job.Replicas, job.Force, job.State, steps, job.Error, warnings,
		job.By, stamp(orNow(job.CreatedAt)), stamp(job.StartedAt), stamp(job.EndedAt), job.Node, string(moves))
	if duplicate(err) {
		return fleet.Errorf(fleet.Conflict, "there is a job %s already", job.ID)
	}
	return err
}

func encodeJob(job fleet.Job) (steps, warnings string, err error) {
	if job.Steps == nil {
		job.Steps = []fleet.Step{}
	}
	first, err := json.Marshal(job.Steps)
	if err != nil {
		return "", "", err
	}
	second, err := json.Marshal(job.Warnings)
	return string(first), string(second), err
}

func scanJob(row scanner) (fleet.Job, error) {
	var job fleet.Job
	var steps, warnings, moves string
	var created, started, ended int64
	err := row.Scan(&job.ID, &job.Kind, &job.Service, &job.Revision, &job.Replicas, &job.Force, &job.State, &steps,
		&job.Error, &warnings, &job.By, &created, &started, &ended, &job.Node, &moves)
	if err != nil {
		return job, err
	}
	job.CreatedAt, job.StartedAt, job.EndedAt = moment(created), moment(started), moment(ended)
	if err := errors.Join(json.Unmarshal([]byte(steps), &job.Steps), json.Unmarshal([]byte(warnings), &job.Warnings), json.Unmarshal([]byte(moves), &job.Moves)); err != nil {
		return job, fmt.Errorf("the steps or warnings of job %s are not readable: %w", job.ID, err)
	}
	return job, nil
}
