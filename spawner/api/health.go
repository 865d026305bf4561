package api

import (
	"net/http"

	"edgespawner/fleet"
)

type statusAnswer struct {
	Status string `json:"status"`
}

func (a *API) healthz(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, statusAnswer{"ok"})
}

func (a *API) readyz(w http.ResponseWriter, _ *request) error {
	if err := a.config.Questions.Ready(); err != nil {
		message := "not ready yet"
		if all := personal(err); len(all) > 0 {
			message = all[0].Message
		}
		return fleet.Errorf(fleet.Unavailable, "%s", message)
	}
	return writeJSON(w, http.StatusOK, statusAnswer{"ready"})
}
