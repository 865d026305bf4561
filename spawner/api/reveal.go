package api

import "edgespawner/fleet"

type revealedDetail struct {
	fleet.ServiceDetail
	Spec any `json:"spec"`
}

type revealedRevision struct {
	fleet.Revision
	Spec any `json:"spec"`
}

// mayReveal says whether env values, and those of check headers, are asked for; that takes scope admin.
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

func revealDetail(detail fleet.ServiceDetail) revealedDetail {
	return revealedDetail{detail, detail.Spec.Reveal()}
}

func revealRevisions(revisions []fleet.Revision) []revealedRevision {
	revealed := make([]revealedRevision, len(revisions))
	for i, revision := range revisions {
		revealed[i] = revealedRevision{revision, revision.Spec.Reveal()}
	}
	return revealed
}
