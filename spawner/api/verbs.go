package api

import (
	"context"
	"net/http"
	"time"

	"edgespawner/fleet"
)

type scaleBody struct {
	Replicas *int `json:"replicas"`
}

type rollbackBody struct {
	Revision int `json:"revision,omitempty"` // 0 = the newest that succeeded before the one in service
}

// verb makes a handler of a verb that takes nothing but a service's name.
func (a *API) verb(act func(ctx context.Context, name, by string) (fleet.Accepted, error)) func(http.ResponseWriter, *request) error {
	return func(w http.ResponseWriter, r *request) error {
		wait, err := r.wait()
		if err != nil {
			return err
		}
		accepted, err := act(r.Context(), r.name("name"), r.by)
		if err != nil {
			return err
		}
		return a.finish(w, r, accepted, wait)
	}
}

func (a *API) scale(w http.ResponseWriter, r *request) error {
	var body scaleBody
	wait, err := r.wait()
	if err != nil {
		return err
	}
	if err := r.decode(w, &body); err != nil {
		return err
	}
	switch {
	case body.Replicas == nil:
		return fleet.InvalidField("replicas", "is missing")
	case *body.Replicas < 0 || *body.Replicas > fleet.MaxReplicas:
		return fleet.InvalidField("replicas", "%d is not between 0 and %d", *body.Replicas, fleet.MaxReplicas)
	}
	accepted, err := a.config.Verbs.Scale(r.Context(), r.name("name"), *body.Replicas, r.by)
	if err != nil {
		return err
	}
	return a.finish(w, r, accepted, wait)
}

func (a *API) rollback(w http.ResponseWriter, r *request) error {
	var body rollbackBody
	wait, err := r.wait()
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if err := r.decode(w, &body); err != nil {
			return err
		}
	}
	if body.Revision < 0 {
		return fleet.InvalidField("revision", "%d is not a revision's number", body.Revision)
	}
	accepted, err := a.config.Verbs.Rollback(r.Context(), r.name("name"), body.Revision, r.by)
	if err != nil {
		return err
	}
	return a.finish(w, r, accepted, wait)
}

// finish answers a verb: 202 and the job to ask for, 200 when nothing had to
// be done, or with wait the job, 200 at its end and 202 when it goes on.
func (a *API) finish(w http.ResponseWriter, r *request, accepted fleet.Accepted, wait time.Duration) error {
	if accepted.JobID == "" {
		return writeJSON(w, http.StatusOK, accepted)
	}
	w.Header().Set("Location", "/api/jobs/"+accepted.JobID)
	if wait == 0 {
		return writeJSON(w, http.StatusAccepted, accepted)
	}
	job, err := a.await(r, accepted.JobID, wait)
	if err != nil { // the spawner ends, say: accepted it is, and a refusal would have it asked for again
		return writeJSON(w, http.StatusAccepted, accepted)
	}
	if !job.State.Ended() {
		return writeJSON(w, http.StatusAccepted, job)
	}
	return writeJSON(w, http.StatusOK, job)
}

// await returns the job at its end, or as it is when the time is over.
func (a *API) await(r *request, id string, wait time.Duration) (fleet.Job, error) {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	job, err := a.config.Jobs.WaitJob(ctx, id)
	if err != nil && ctx.Err() != nil && r.Context().Err() == nil {
		job, err = a.config.Jobs.Job(r.Context(), id)
	}
	job.Steps = list(job.Steps)
	return job, err
}
