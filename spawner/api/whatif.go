package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"edgespawner/fleet"
)

func (a *API) whatIf(w http.ResponseWriter, r *request) error {
	var question fleet.WhatIf
	if err := r.decode(w, &question); err != nil {
		return err
	}
	if len(question.Kill) == 0 && len(question.Scale) == 0 {
		return fleet.InvalidField("kill", "is missing, and scale too: say which nodes would be lost or which services scaled")
	}
	for _, service := range slices.Sorted(maps.Keys(question.Scale)) {
		if n := question.Scale[service]; n < 0 || n > fleet.MaxReplicas {
			return fleet.InvalidField("scale."+service, "%d is not between 0 and %d", n, fleet.MaxReplicas)
		}
	}
	for i, node := range question.Kill {
		if slices.Contains(question.Kill[:i], node) {
			return fleet.InvalidField(fmt.Sprintf("kill[%d]", i), "%q stands twice", node)
		}
	}
	answer, err := a.config.Balancer.WhatIf(r.Context(), question)
	if err != nil {
		return err
	}
	answer.Placed, answer.Unplaced, answer.Removed, answer.Nodes = list(answer.Placed), list(answer.Unplaced), list(answer.Removed), list(answer.Nodes)
	return writeJSON(w, http.StatusOK, answer)
}
