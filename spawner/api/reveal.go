package api

import "edgespawner/fleet"

// revealedSpec is a spec whose env is written as it is: the outer field stands
// before the embedded one.
type revealedSpec struct {
	fleet.Spec
	Env map[string]string `json:"env,omitempty"`
}

type revealedDetail struct {
	fleet.ServiceDetail
	Spec revealedSpec `json:"spec"`
}

type revealedRevision struct {
	fleet.Revision
	Spec revealedSpec `json:"spec"`
}

// mayReveal says whether env values are asked for; that takes scope admin.
func (a *API) mayReveal(r *request) (bool, error) {
	switch what := r.query.Get("reveal"); {
	case !r.query.Has("reveal"):
		return false, nil
	case what != "env":
		return false, fleet.InvalidField("reveal", "%q is not env", what)
	}
	by, err := a.config.Authority.Authorize(r.Request, fleet.ScopeAdmin)
	if err != nil {
		return false, err
	}
	a.log.InfoContext(r.Context(), "Revealing env", "service", r.name("name"), "by", by)
	return true, nil
}

func revealSpec(spec fleet.Spec) revealedSpec {
	env := make(map[string]string, len(spec.Env))
	for key, value := range spec.Env {
		env[key] = value.Reveal()
	}
	return revealedSpec{spec, env}
}

func revealDetail(detail fleet.ServiceDetail) revealedDetail {
	return revealedDetail{detail, revealSpec(detail.Spec)}
}

func revealRevisions(revisions []fleet.Revision) []revealedRevision {
	revealed := make([]revealedRevision, len(revisions))
	for i, revision := range revisions {
		revealed[i] = revealedRevision{revision, revealSpec(revision.Spec)}
	}
	return revealed
}
