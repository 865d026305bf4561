package direct

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// payload is the body of a create. Fields that it does not name are passed
// over, as the older API did.
type payload struct {
	Name    string                  `json:"name"`
	Network string                  `json:"network"`
	Image   string                  `json:"image"`
	Labels  map[string]string       `json:"labels"`
	Envs    map[string]fleet.Secret `json:"envs"`
}

// readPayload decodes a create. Its scripts send no content type, or curl's own.
func readPayload(r io.Reader) (payload, error) {
	var p payload
	data, err := io.ReadAll(io.LimitReader(r, fleet.MaxSpecSize+1))
	switch {
	case err != nil:
		return p, fleet.Errorf(fleet.Invalid, "cannot read the body: %s", err)
	case len(data) > fleet.MaxSpecSize:
		return p, fleet.Errorf(fleet.TooLarge, "the body is larger than %d bytes", fleet.MaxSpecSize)
	}
	err = json.Unmarshal(data, &p)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return p, fleet.InvalidField(wrong.Field, "a value of another type is wanted, not %s", wrong.Value)
	case err != nil:
		return p, fleet.Errorf(fleet.Invalid, "the body is not JSON: %s", err)
	}
	return p, nil
}

// spec is what the payload asks for, in the words of the fleet. A label
// health-check stays a label: whether it or the image's own check counts is known only with the image.
func (a *API) spec(p payload) fleet.Spec {
	spec := fleet.DefaultSpec()
	spec.Direct = true
	spec.Name, spec.Image = p.Name, p.Image
	spec.Labels, spec.Env = maps.Clone(p.Labels), p.Envs
	spec.Restart = fleet.RestartNever
	spec.Wake.MaxWait = a.config.MaxWait // and answer auto: a browser is redirected, since Direct is set, all others are held
	if p.Network != "" {
		spec.Networks = []string{p.Network}
	}
	if !routed(p.Labels) {
		spec.Route = a.route(p.Name)
	}
	return spec
}

// route is how an instance that brings no router is reached.
func (a *API) route(name string) *fleet.Route {
	if a.config.PathRouting {
		return &fleet.Route{PathPrefix: a.config.ContainerPrefix + "/" + name, StripPrefix: true}
	}
	return &fleet.Route{Cookie: &fleet.Cookie{Name: a.config.CookieKey, Value: name}}
}

// routed says whether labels bring a router of their own, or forbid one.
func routed(labels map[string]string) bool {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		lower := strings.ToLower(key)
		if strings.HasPrefix(lower, "traefik.http.routers.") || lower == "traefik.enable" && strings.EqualFold(labels[key], "false") {
			return true
		}
	}
	return false
}
