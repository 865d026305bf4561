package api

import (
	"net/http"

	"edgespawner/fleet"
)

// defaultJobs is how many jobs are listed when nobody says.
const defaultJobs = 100

func (a *API) jobs(w http.ResponseWriter, r *request) error {
	limit, err := r.number("limit", defaultJobs, 1, maxListed)
	if err != nil {
		return err
	}
	jobs, err := a.config.Jobs.Jobs(r.Context(), r.query.Get("service"), int(limit))
	if err != nil {
		return err
	}
	answer := make([]fleet.Job, len(jobs))
	for i, job := range jobs {
		job.Steps = list(job.Steps)
		answer[i] = job
	}
	return writeJSON(w, http.StatusOK, answer)
}

// job answers a job, with wait at its end at the latest.
func (a *API) job(w http.ResponseWriter, r *request) error {
	wait, err := r.wait()
	if err != nil {
		return err
	}
	var job fleet.Job
	if wait > 0 {
		job, err = a.await(r, r.name("id"), wait)
	} else {
		job, err = a.config.Jobs.Job(r.Context(), r.name("id"))
	}
	if err != nil {
		return err
	}
	job.Steps = list(job.Steps)
	return writeJSON(w, http.StatusOK, job)
}

func (a *API) cancelJob(w http.ResponseWriter, r *request) error {
	job, err := a.config.Jobs.CancelJob(r.Context(), r.name("id"), r.by)
	if err != nil {
		return err
	}
	job.Steps = list(job.Steps)
	return writeJSON(w, http.StatusOK, job)
}
