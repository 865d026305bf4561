package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// errorAnswer is the body of every refusal.
type errorAnswer struct {
	Error *fleet.Error `json:"error"`
}

// errEnding is what a client is told that still reads when the server ends
// under its request; one that has left reads nothing.
var errEnding = &fleet.Error{Kind: fleet.Unavailable, RetryAfter: time.Second, Message: "the spawner is being shut down"}

// refuse answers an error. It always does: a handler that returns without a
// word is answered 200 by net/http.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := a.told(r, err)
	writeError(w, e.Kind.HTTPStatus(), e)
}

// told is what the caller is told of an error: what a person may see by its
// kind, and anything else, which is logged, as internal.
func (a *API) told(r *http.Request, err error) *fleet.Error {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return errEnding
	}
	e := shown(err)
	if e.Kind == fleet.Internal {
		a.log.ErrorContext(r.Context(), "Request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		e = fleet.Errorf(fleet.Internal, "internal error")
	}
	return e
}

func writeError(w http.ResponseWriter, status int, e *fleet.Error) {
	if seconds := e.RetryAfterSeconds(); seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	if e.Kind == fleet.Unauthorized {
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="spawner"`, `Basic realm="spawner"`}
	}
	_ = writeJSON(w, status, errorAnswer{e})
}

// shown makes one error for a person of err. Of several mistakes the first
// gives kind and field, and its message goes on with the others.
func shown(err error) *fleet.Error {
	all := personal(err)
	if len(all) == 0 {
		return &fleet.Error{Kind: fleet.Internal}
	}
	first := *all[0]
	messages := []string{first.Message}
	for _, e := range all[1:] {
		messages = append(messages, e.Error())
	}
	first.Message = strings.Join(messages, "; ")
	return &first
}

// personal collects the errors for persons that err wraps or joins.
func personal(err error) []*fleet.Error {
	switch e := err.(type) {
	case *fleet.Error:
		return []*fleet.Error{e}
	case interface{ Unwrap() []error }:
		var all []*fleet.Error
		for _, part := range e.Unwrap() {
			all = append(all, personal(part)...)
		}
		return all
	case interface{ Unwrap() error }:
		return personal(e.Unwrap())
	}
	return nil
}
