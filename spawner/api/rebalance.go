package api

import (
	"net/http"

	"edgespawner/fleet"
)

func (a *API) rebalance(w http.ResponseWriter, r *request) error {
	var question fleet.Rebalance
	wait, err := r.wait()
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if err := r.decode(w, &question); err != nil {
			return err
		}
	}
	switch {
	case question.Moves < 0 || question.Moves > fleet.MaxMoves:
		return fleet.InvalidField("moves", "%d is not between 0 (= %d) and %d", question.Moves, fleet.DefaultMoves, fleet.MaxMoves)
	case question.Plan && question.ID != "":
		return fleet.InvalidField("id", "is of a plan that is to be carried out, and plan asks for a new one")
	}
	plan, err := a.config.Balancer.Rebalance(r.Context(), question, r.by)
	if err != nil {
		return err
	}
	if plan.JobID != "" && wait > 0 {
		return a.finish(w, r, fleet.Accepted{JobID: plan.JobID}, wait)
	}
	plan.Moves = list(plan.Moves)
	if plan.JobID == "" {
		return writeJSON(w, http.StatusOK, plan)
	}
	w.Header().Set("Location", "/api/jobs/"+plan.JobID)
	return writeJSON(w, http.StatusAccepted, plan)
}
