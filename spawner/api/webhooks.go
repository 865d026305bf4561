package api

import (
	"fmt"
	"net/http"

	"edgespawner/fleet"
)

type webhookBody struct {
	Name    string            `json:"name"`
	URL     string            `json:"url"`
	Types   []fleet.EventType `json:"types,omitempty"`   // none = all
	Service string            `json:"service,omitempty"` // empty = all
	Secret  string            `json:"secret,omitempty"`  // empty = one is made
}

func (a *API) webhooks(w http.ResponseWriter, r *request) error {
	hooks, err := a.config.Webhooks.List(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(hooks))
}

func (a *API) addWebhook(w http.ResponseWriter, r *request) error {
	var body webhookBody
	if err := r.decode(w, &body); err != nil {
		return err
	}
	hook, err := a.config.Webhooks.Add(r.Context(), fleet.Webhook{
		Name: body.Name, URL: body.URL, Types: body.Types, Service: body.Service, Secret: body.Secret, By: r.by,
	})
	if err != nil {
		return err
	}
	a.noteWebhook(r, "Webhook %s made by %s", hook.Name, r.by)
	return writeJSON(w, http.StatusCreated, hook)
}

func (a *API) removeWebhook(w http.ResponseWriter, r *request) error {
	if err := a.config.Webhooks.Remove(r.Context(), r.name("name")); err != nil {
		return err
	}
	a.noteWebhook(r, "Webhook %s removed by %s", r.name("name"), r.by)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) testWebhook(w http.ResponseWriter, r *request) error {
	result, err := a.config.Webhooks.Test(r.Context(), r.name("name"), r.by)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, result)
}

// noteWebhook records a change; the URL is no matter for those who may only read.
func (a *API) noteWebhook(r *request, format string, args ...any) {
	a.config.Records.Record(fleet.Event{Type: fleet.EventWebhook, Message: fmt.Sprintf(format, args...), By: r.by})
}
