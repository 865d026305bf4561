package direct

import (
	"net/http"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// minID is how short the beginning of a container's id may be.
const minID = 6

// instance is one line of the list.
type instance struct {
	ID      string                `json:"id"`
	Name    string                `json:"name"`
	Image   string                `json:"image"`
	Network string                `json:"network,omitempty"`
	State   fleet.ContainerStatus `json:"state"`  // of its container, in Docker's words
	Status  fleet.Status          `json:"status"` // of the service
	Health  fleet.Health          `json:"health"`
	Labels  map[string]string     `json:"labels,omitempty"`
}

func (a *API) list(w http.ResponseWriter, _ *http.Request, _, _ string) error {
	instances := []instance{}
	for _, detail := range a.instances() {
		i := instance{Name: detail.Name, Image: detail.Image, Status: detail.Status, Health: detail.Health, Labels: detail.Spec.Labels, State: fleet.ContainerMissing}
		if len(detail.Spec.Networks) > 0 {
			i.Network = detail.Spec.Networks[0]
		}
		if len(detail.Containers) > 0 {
			i.ID, i.State = detail.Containers[0].ID, detail.Containers[0].Status
		}
		instances = append(instances, i)
	}
	writeJSON(w, http.StatusOK, map[string]any{"instances": instances})
	return nil
}

// instances are the services that are direct, by name.
func (a *API) instances() []fleet.ServiceDetail {
	var details []fleet.ServiceDetail
	for _, service := range a.config.Engine.Services() {
		if detail, err := a.config.Engine.Service(service.Name); err == nil && detail.Spec.Direct {
			details = append(details, detail)
		}
	}
	return details
}

// instance finds one by its name, its container's id, or the beginning of that id.
func (a *API) instance(idOrName string) (fleet.ServiceDetail, error) {
	detail, err := a.config.Engine.Service(idOrName)
	if err == nil && detail.Spec.Direct {
		return detail, nil
	}
	if err != nil && fleet.KindOf(err) != fleet.NotFound {
		return detail, err
	}
	var found []fleet.ServiceDetail
	for _, detail := range a.instances() {
		if slices.ContainsFunc(detail.Containers, func(c fleet.ServiceContainer) bool {
			return c.ID == idOrName || len(idOrName) >= minID && strings.HasPrefix(c.ID, idOrName)
		}) {
			found = append(found, detail)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return fleet.ServiceDetail{}, fleet.Errorf(fleet.NotFound, "there is no instance %q", idOrName)
	}
	return fleet.ServiceDetail{}, fleet.Errorf(fleet.Conflict, "%q is the beginning of %d instances' ids", idOrName, len(found))
}

// start starts an instance again, without waiting for its health.
func (a *API) start(w http.ResponseWriter, r *http.Request, id, by string) error {
	detail, err := a.instance(id)
	if err != nil {
		return err
	}
	if runs(detail.Service) {
		return fleet.Errorf(fleet.Conflict, "instance %q runs already", detail.Name)
	}
	accepted, err := a.config.Engine.Wake(r.Context(), detail.Name, by)
	if err != nil {
		return err
	}
	if len(detail.Containers) == 0 || detail.Containers[0].ID == "" { // gone: it is made anew, and then has an id
		if err := a.finished(r.Context(), accepted); err != nil {
			return err
		}
	}
	return a.answerID(w, detail.Name)
}

func runs(service fleet.Service) bool {
	switch service.Status {
	case fleet.StatusWaking, fleet.StatusDeploying:
		return true
	}
	return slices.ContainsFunc(service.Containers, func(c fleet.ServiceContainer) bool {
		return c.Status == fleet.ContainerRunning
	})
}

// remove stops and removes an instance, and answers when it is gone.
func (a *API) remove(w http.ResponseWriter, r *http.Request, id, by string) error {
	detail, err := a.instance(id)
	if err != nil {
		return err
	}
	accepted, err := a.config.Engine.Remove(r.Context(), detail.Name, by)
	if err != nil {
		return err
	}
	if err := a.finished(r.Context(), accepted); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"result": "ok"})
	return nil
}
