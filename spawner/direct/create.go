package direct

import (
	"context"
	"net/http"

	"edgespawner/fleet"
)

// create makes an instance, starts it, and answers the id of its container.
// One that fails to start leaves nothing behind, as there.
func (a *API) create(w http.ResponseWriter, r *http.Request, _, by string) error {
	p, err := readPayload(r.Body)
	if err != nil {
		return err
	}
	spec := a.spec(p)
	if err := spec.Validate(); err != nil {
		return err
	}
	if !a.reserve(spec.Name) {
		return fleet.Errorf(fleet.Conflict, "an instance named %q is being created already", spec.Name)
	}
	defer a.release(spec.Name)
	if _, err := a.config.Engine.Service(spec.Name); err == nil {
		return fleet.Errorf(fleet.Conflict, "the name %q is in use already", spec.Name)
	} else if fleet.KindOf(err) != fleet.NotFound {
		return err
	}
	accepted, err := a.config.Engine.Deploy(r.Context(), spec, by, false)
	if err != nil {
		return err
	}
	if err := a.finished(r.Context(), accepted); err != nil {
		if r.Context().Err() == nil {
			a.discard(r.Context(), spec.Name, by)
		}
		return err
	}
	return a.answerID(w, spec.Name)
}

// reserve keeps a second create of the same name out while one is under way.
func (a *API) reserve(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.creating[name] {
		return false
	}
	a.creating[name] = true
	return true
}

func (a *API) release(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.creating, name)
}

// finished waits for accepted work; a job that did not succeed is an error.
func (a *API) finished(ctx context.Context, accepted fleet.Accepted) error {
	if accepted.JobID == "" {
		return nil
	}
	job, err := a.config.Engine.WaitJob(ctx, accepted.JobID)
	switch {
	case err != nil:
		return err
	case job.State == fleet.JobSucceeded:
		return nil
	case job.Error != "":
		return fleet.Errorf(fleet.Invalid, "%s", job.Error)
	}
	return fleet.Errorf(fleet.Invalid, "the %s of %q was %s", job.Kind, job.Service, job.State)
}

// discard removes what a failed create left.
func (a *API) discard(ctx context.Context, name, by string) {
	accepted, err := a.config.Engine.Remove(ctx, name, by)
	if err == nil {
		err = a.finished(ctx, accepted)
	}
	if err != nil {
		a.log.WarnContext(ctx, "Cannot remove what a failed create left", "service", name, "error", err)
	}
}

func (a *API) answerID(w http.ResponseWriter, name string) error {
	detail, err := a.config.Engine.Service(name)
	if err != nil {
		return err
	}
	if len(detail.Containers) == 0 {
		return fleet.Errorf(fleet.Unavailable, "instance %q has no container", name)
	}
	writeJSON(w, http.StatusOK, map[string]string{"id": detail.Containers[0].ID})
	return nil
}
