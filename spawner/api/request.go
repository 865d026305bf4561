package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"

	"github.com/julienschmidt/httprouter"
)

const (
	maxWait   = time.Hour // what ?wait= may ask for
	maxListed = 10_000    // what ?limit= may ask for
)

// request is a request whose caller is known and whose query was read.
type request struct {
	*http.Request
	params httprouter.Params
	by     string // the caller's name; empty for what is open
	query  url.Values
}

// name returns a parameter of the path.
func (r *request) name(parameter string) string { return r.params.ByName(parameter) }

// readQuery parses the query; one that the route does not take, or that stands twice, is refused by its name.
func (r *request) readQuery(known []string) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "cannot read the query: %s", err)
	}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name) && len(known) == 0:
			return fleet.InvalidField(name, "unknown parameter; none is known here")
		case !slices.Contains(known, name):
			return fleet.InvalidField(name, "unknown parameter; known here: %s", strings.Join(known, ", "))
		case len(values) > 1:
			return fleet.InvalidField(name, "stands twice")
		}
	}
	r.query = query
	return nil
}

// flag reads a boolean parameter; one without a value is true.
func (r *request) flag(name string) (bool, error) {
	if !r.query.Has(name) {
		return false, nil
	}
	text := r.query.Get(name)
	if text == "" {
		return true, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fleet.InvalidField(name, "%q is not true or false", text)
	}
	return value, nil
}

// number reads a whole number between low and high; fallback when it is not given.
func (r *request) number(name string, fallback, low, high int64) (int64, error) {
	text := r.query.Get(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < low || value > high {
		return 0, fleet.InvalidField(name, "%q is not a whole number between %d and %d", text, low, high)
	}
	return value, nil
}

// wait reads how long the answer may be waited for; 0 = not at all.
func (r *request) wait() (time.Duration, error) {
	text := r.query.Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, fleet.InvalidField("wait", `%q is not a duration such as "60s", up to %s`, text, maxWait)
	}
	return d, nil
}

// moment reads a time: RFC 3339, or a duration that is counted back from now.
func (r *request) moment(name string) (time.Time, error) {
	text := r.query.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC(), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return time.Now().Add(-d).UTC(), nil
	}
	return time.Time{}, fleet.InvalidField(name, `%q is neither a time such as 2024-01-15T10:23:45Z nor a duration such as "10m"`, text)
}

// noBody refuses a body of a route that takes none; an empty object passes.
func (r *request) noBody(w http.ResponseWriter) error {
	data, err := r.readBody(w)
	if err != nil {
		return err
	}
	if text := string(bytes.TrimSpace(data)); text != "" && text != "{}" {
		return fleet.Errorf(fleet.Invalid, "%s takes no body", r.URL.Path)
	}
	return nil
}

// json returns the body, which must say that it is JSON.
func (r *request) json(w http.ResponseWriter) ([]byte, error) {
	given := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err != nil || media != applicationJSON {
		return nil, fleet.InvalidField("Content-Type", "must be %s, not %q", applicationJSON, given)
	}
	return r.readBody(w)
}

// decode reads the JSON body strictly into target.
func (r *request) decode(w http.ResponseWriter, target any) error {
	data, err := r.json(w)
	if err != nil {
		return err
	}
	return fleet.DecodeStrict(bytes.NewReader(data), target)
}

// readBody reads a whole body within its bound; how long that may take is the server's to say.
func (r *request) readBody(w http.ResponseWriter) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, fleet.MaxSpecSize))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fleet.Errorf(fleet.TooLarge, "the body is larger than %d bytes", fleet.MaxSpecSize)
	case err != nil:
		return nil, fleet.Errorf(fleet.Invalid, "cannot read the body: %s", err)
	}
	return data, nil
}
