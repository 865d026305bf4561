package api

import (
	"net/http"

	"edgespawner/fleet"
)

func (a *API) services(w http.ResponseWriter, _ *request) error {
	services := list(a.config.Questions.Services())
	answer := make([]fleet.Service, len(services))
	for i, s := range services {
		s.Containers = list(s.Containers)
		answer[i] = s
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (a *API) service(w http.ResponseWriter, r *request) error {
	reveal, err := a.mayReveal(r)
	if err != nil {
		return err
	}
	detail, err := a.config.Questions.Service(r.name("name"))
	if err != nil {
		return err
	}
	detail.Containers, detail.Detail = list(detail.Containers), list(detail.Detail)
	if reveal {
		return writeJSON(w, http.StatusOK, revealDetail(detail))
	}
	return writeJSON(w, http.StatusOK, detail)
}

func (a *API) revisions(w http.ResponseWriter, r *request) error {
	reveal, err := a.mayReveal(r)
	if err != nil {
		return err
	}
	revisions, err := a.config.Questions.Revisions(r.Context(), r.name("name"))
	if err != nil {
		return err
	}
	if reveal {
		return writeJSON(w, http.StatusOK, revealRevisions(revisions))
	}
	return writeJSON(w, http.StatusOK, list(revisions))
}

func (a *API) why(w http.ResponseWriter, r *request) error {
	why, err := a.config.Questions.Why(r.name("name"))
	if err != nil {
		return err
	}
	why.Reasons = list(why.Reasons)
	return writeJSON(w, http.StatusOK, why)
}

func (a *API) edges(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, list(a.config.Edges.Edges()))
}
