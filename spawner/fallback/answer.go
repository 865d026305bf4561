package fallback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// What ends a request that waits, besides an answer of the engine.
var (
	errLeft        = errors.New("the client left")
	errTooLong     = errors.New("waited for longer than max_wait")
	errNoRoute     = fleet.Errorf(fleet.NotFound, "no service is reached by this address")
	errClosing     = &fleet.Error{Kind: fleet.Unavailable, Message: "the router is being restarted", RetryAfter: time.Second}
	errNeverRouted = &fleet.Error{Kind: fleet.Unavailable, Message: "no edge has taken the route of this service, which is stopped again", RetryAfter: 5 * time.Second}
	errTooMany     = &fleet.Error{Kind: fleet.Unavailable, Message: "too many requests are waiting", RetryAfter: time.Second}
)

// errMayHaveRun refuses a request that an app may have carried out already.
func errMayHaveRun(service string) error {
	return &fleet.Error{
		Kind: fleet.Unavailable, RetryAfter: time.Second,
		Message: "service " + service + " failed while it had this request, which is not sent a second time",
	}
}

// whyNot returns what a client that waited in vain is told: the engine's own
// reason, unless the wait itself was ended. last is the newest attempt's failure.
func whyNot(ctx context.Context, v visit, err, last error) error {
	cause := context.Cause(ctx)
	var said *fleet.Error
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, errClosing):
		return errClosing
	case !errors.Is(cause, errTooLong):
		return errLeft
	case errors.As(err, &said):
		return err
	case last != nil:
		return timeout("service %s did not take the request within %s", v.name, v.maxWait)
	default:
		return timeout("service %s was not ready within %s", v.name, v.maxWait)
	}
}

func timeout(format string, args ...any) error {
	return &fleet.Error{Kind: fleet.Timeout, Message: fmt.Sprintf(format, args...), RetryAfter: time.Second}
}

// answerError answers a request of which nothing has been answered yet.
func (r *Router) answerError(w http.ResponseWriter, req *http.Request, err error) {
	if errors.Is(err, errLeft) {
		r.counters.outcomes[OutcomeLeft].Add(1)
		panic(http.ErrAbortHandler) // nobody is there to be answered
	}
	var said *fleet.Error
	if !errors.As(err, &said) || said.Kind == fleet.Internal {
		r.log.Error("Request failed", "error", err)
		said = fleet.Errorf(fleet.Internal, "internal error")
	}
	r.counters.outcomes[outcomeOf(said.Kind)].Add(1)
	if (said == errNoRoute || said == errNeverRouted) && r.home.takes(req) {
		w.Header().Set("Location", r.home.url)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusFound)
		return
	}
	if said == errClosing {
		w.Header().Set("Connection", "close")
	}
	if err := writeError(w, req, said); err != nil {
		r.log.Debug("Client left", "error", err)
	}
}

// writeError writes an error in the form that the client reads.
func writeError(w http.ResponseWriter, req *http.Request, e *fleet.Error) error {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if seconds := retryAfter(e); seconds > 0 {
		header.Set("Retry-After", strconv.Itoa(seconds))
	}
	if isGRPC(req) {
		return writeGRPC(w, req, e)
	}
	status := e.Kind.HTTPStatus()
	switch preferred(req) {
	case "application/json":
		header.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		return json.NewEncoder(w).Encode(map[string]*fleet.Error{"error": e})
	case "text/html":
		header.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		return errorPage.Execute(w, map[string]any{"Status": status, "Title": http.StatusText(status), "Message": e.Message})
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, err := fmt.Fprintf(w, "%s\n", e.Message)
		return err
	}
}

// writeGRPC answers with trailers only: the status of the call in the headers
// of an answer without a body. The codes are those that gRPC itself gives to
// the HTTP status (grpc/doc/http-grpc-status-mapping.md).
func writeGRPC(w http.ResponseWriter, req *http.Request, e *fleet.Error) error {
	const internal, unimplemented, unavailable = 13, 12, 14
	code := internal
	switch e.Kind {
	case fleet.NotFound:
		code = unimplemented
	case fleet.BadGateway, fleet.Unavailable, fleet.Timeout, fleet.Busy:
		code = unavailable
	}
	header := w.Header()
	header.Set("Content-Type", req.Header.Get("Content-Type"))
	header.Set("Content-Length", "0")
	header.Set("Grpc-Status", strconv.Itoa(code))
	header.Set("Grpc-Message", strings.ReplaceAll(url.PathEscape(e.Message), "%20", " "))
	w.WriteHeader(http.StatusOK)
	return nil
}

// retryAfter returns the seconds after which a client may come again; 0 = say nothing.
func retryAfter(e *fleet.Error) int {
	if seconds := e.RetryAfterSeconds(); seconds > 0 {
		return seconds
	}
	switch e.Kind {
	case fleet.Unavailable, fleet.Timeout, fleet.Busy:
		return 1
	}
	return 0
}

// preferred returns the first media type of the Accept header that an error
// can be written in; text/plain for none.
func preferred(req *http.Request) string {
	for _, line := range req.Header["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			part, _, _ = strings.Cut(part, ";")
			switch part = strings.ToLower(strings.TrimSpace(part)); {
			case part == "text/html", part == "application/xhtml+xml":
				return "text/html"
			case part == "application/json", strings.HasSuffix(part, "+json"):
				return "application/json"
			case part == "text/plain":
				return part
			}
		}
	}
	return "text/plain"
}

var errorPage = template.Must(template.New("error").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Status}} {{.Title}}</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0;color-scheme:light dark}</style>
<main><h1>{{.Status}} {{.Title}}</h1><p>{{.Message}}</p></main>
</html>
`))
