package direct

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

func writeJSON(w http.ResponseWriter, status int, answer any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone cannot be told
}

// refuse answers what went wrong as the older API did: 400 and {"error"}. What
// is not for persons is logged. It always answers: a handler that returns
// without a word is answered 200 by net/http.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil && errors.Is(err, context.Canceled): // the client left, or it reads and the server ends
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "the spawner is being shut down"})
		return
	case fleet.KindOf(err) == fleet.Internal:
		a.log.ErrorContext(r.Context(), "Request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		return
	}
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": personal(err)})
}

// turnAway answers a caller who may not: 401, 403 or 429 and {"message"}.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	var e *fleet.Error
	if !errors.As(err, &e) || e.Kind == fleet.Internal {
		a.refuse(w, r, err)
		return
	}
	if seconds := e.RetryAfterSeconds(); seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	writeJSON(w, e.Kind.HTTPStatus(), map[string]string{"message": personal(err)})
}

// personal is the message of an error: of several mistakes, all of them.
func personal(err error) string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var messages []string
		for _, part := range joined.Unwrap() {
			messages = append(messages, personal(part))
		}
		return strings.Join(messages, "; ")
	}
	var e *fleet.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return "internal error"
}
