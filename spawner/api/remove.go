package api

import "net/http"

func (a *API) remove(w http.ResponseWriter, r *request) error {
	volumes, err := r.flag("volumes")
	if err != nil {
		return err
	}
	if volumes {
		return a.verb(a.config.Remover.RemoveWithVolumes)(w, r)
	}
	return a.verb(a.config.Remover.Remove)(w, r)
}
