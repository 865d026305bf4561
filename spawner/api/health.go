package api

import (
	"net/http"

	"edgespawner/fleet"
)

type statusAnswer struct {
	Status string `json:"status"`
	Note   string `json:"note,omitempty"` // why it does not do all that it should
}

func (a *API) healthz(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, statusAnswer{Status: "ok"})
}

func (a *API) readyz(w http.ResponseWriter, _ *request) error {
	note, err := a.config.Questions.Ready()
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, "%s", notReady(err))
	}
	return writeJSON(w, http.StatusOK, statusAnswer{Status: "ready", Note: note})
}

// notReady says what is waited for.
func notReady(err error) string {
	if all := personal(err); len(all) > 0 {
		return all[0].Message
	}
	return "not ready yet"
}
