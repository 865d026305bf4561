package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"edgespawner/fleet"
)

const (
	waitStep = 500 * time.Millisecond // how long the spawner may hold one question about a job
	waitAway = 30 * time.Second       // how long a watched job's spawner may be away
)

// Jobs lists jobs, newest first; service "" = of all, limit 0 = the spawner's own.
func (c *Client) Jobs(ctx context.Context, service string, limit int) (jobs []fleet.Job, err error) {
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	err = c.get(ctx, &jobs, query, "api", "jobs")
	return jobs, err
}

// Job returns a job as it is now.
func (c *Client) Job(ctx context.Context, id string) (job fleet.Job, err error) {
	err = c.get(ctx, &job, nil, "api", "jobs", id)
	return job, err
}

// CancelJob asks for a job to be canceled and returns it as it is then.
func (c *Client) CancelJob(ctx context.Context, id string) (job fleet.Job, err error) {
	err = c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "jobs", id}}, &job)
	return job, err
}

// WaitJob returns a job at its end. A failed job is not an error of the call.
func (c *Client) WaitJob(ctx context.Context, id string) (fleet.Job, error) {
	return c.WatchJob(ctx, id, func(fleet.Job) {})
}

// WatchJob shows a job about twice a second until its end, which it returns at
// once. A spawner that is being replaced meanwhile is waited for.
func (c *Client) WatchJob(ctx context.Context, id string, show func(fleet.Job)) (fleet.Job, error) {
	var job fleet.Job
	heard := time.Now()
	for {
		var now fleet.Job
		err := c.get(ctx, &now, url.Values{"wait": {waitStep.String()}}, "api", "jobs", id)
		var refused *fleet.Error
		switch {
		case err == nil:
			job, heard = now, time.Now()
			show(job)
			if job.State.Ended() {
				return job, nil
			}
		case ctx.Err() != nil:
			return job, ctx.Err()
		case errors.As(err, &refused) && refused.Kind != fleet.Unavailable, time.Since(heard) > waitAway:
			return job, err
		default:
			if !pause(ctx, waitStep) {
				return job, ctx.Err()
			}
		}
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
