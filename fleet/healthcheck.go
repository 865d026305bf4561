package fleet

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HealthCheck says when a replica is ready and whether it still is.
type HealthCheck struct {
	Type        CheckType         `json:"type"`
	Endpoint    string            `json:"endpoint,omitempty"`       // http: URL; localhost means the replica itself
	Port        int               `json:"port,omitempty"`           // tcp: 0 = the route's port
	Command     []string          `json:"command,omitempty"`        // command: run inside the app, exit 0 = healthy
	Interval    Duration          `json:"interval,omitempty"`       // between probes of an awake replica; docker: 0 = the image's
	Timeout     Duration          `json:"timeout,omitempty"`        // of one probe; docker: 0 = the image's
	Retries     int               `json:"retries,omitempty"`        // failures in a row that make unhealthy; docker: 0 = the image's
	Successes   int               `json:"successes,omitempty"`      // in a row that make it ready, or healthy again; 0 = 1
	StartPeriod Duration          `json:"start_period,omitempty"`   // after a start, failures do not count
	OKStatus    []int             `json:"ok_status,omitempty"`      // http: empty = 200 to 399
	Headers     map[string]Secret `json:"headers,omitempty"`        // http
	Settle      Duration          `json:"settling_delay,omitempty"` // none: time after which it counts as ready
}

// CheckType is the kind of a health check.
type CheckType string

// The kinds of health check.
const (
	CheckHTTP    CheckType = "http"
	CheckTCP     CheckType = "tcp"
	CheckCommand CheckType = "command"
	CheckDocker  CheckType = "docker" // the image's HEALTHCHECK
	CheckNone    CheckType = "none"   // ready after the settling delay
)

// The defaults of a health check.
const (
	DefaultInterval      = Duration(10 * time.Second)
	DefaultTimeout       = Duration(2 * time.Second)
	DefaultRetries       = 3
	DefaultSettlingDelay = Duration(2 * time.Second)
)

// CheckLabels are the spellings of the older API's label that holds the URL of
// an http check, the first one found counting.
var CheckLabels = []string{"health-check", "healthcheck"}

// WithDefaults returns the check with every field that is zero and has a default.
func (h HealthCheck) WithDefaults() HealthCheck {
	fill(&h.Interval, DefaultInterval)
	fill(&h.Timeout, DefaultTimeout)
	fill(&h.Retries, DefaultRetries)
	if h.Type == CheckNone {
		fill(&h.Settle, DefaultSettlingDelay)
	}
	return h
}

// withDefaults is WithDefaults for a check as it is asked for: one that is the
// image's leaves open what the image says.
func (h HealthCheck) withDefaults() HealthCheck {
	if h.Type == CheckDocker {
		return h
	}
	return h.WithDefaults()
}

func (h *HealthCheck) validate(v *validation, service string) {
	oneOf(v, "health_check.type", h.Type, CheckHTTP, CheckTCP, CheckCommand, CheckDocker, CheckNone)
	open := func(zero bool) bool { return zero && h.Type == CheckDocker }
	if !open(h.Interval == 0) {
		checkDuration(v, "health_check.interval", h.Interval, Duration(100*time.Millisecond), Duration(24*time.Hour))
	}
	if !open(h.Timeout == 0) {
		checkDuration(v, "health_check.timeout", h.Timeout, Duration(time.Millisecond), Duration(time.Hour))
	}
	checkDuration(v, "health_check.start_period", h.StartPeriod, 0, Duration(24*time.Hour))
	checkDuration(v, "health_check.settling_delay", h.Settle, 0, Duration(time.Hour))
	v.check(open(h.Retries == 0) || h.Retries >= 1 && h.Retries <= 100, "health_check.retries", "%d is not between 1 and 100", h.Retries)
	v.check(h.Successes >= 0 && h.Successes <= 100, "health_check.successes", "%d is not between 1 and 100", h.Successes)
	v.check(h.Port == 0 || validPort(h.Port), "health_check.port", "%d is not 0 (the route's) or between 1 and 65535", h.Port)
	for i, status := range h.OKStatus {
		v.check(status >= 100 && status <= 599, fmt.Sprintf("health_check.ok_status[%d]", i), "%d is not an HTTP status", status)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		sound := headerPattern.MatchString(name) && !strings.ContainsFunc(h.Headers[name].Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
		v.check(sound, "health_check.headers", "%q is not a header's name, or its value holds a control character", name)
	}
	h.refuseStrangers(v)
	v.check(h.Type != CheckCommand || len(h.Command) > 0, "health_check.command", "is missing")
	if h.Type == CheckHTTP {
		_, err := ParseEndpoint(h.Endpoint, service)
		v.check(err == nil, "health_check.endpoint", "%s", err)
	}
}

// checkField is a field of a check that is not for all of its types.
type checkField struct {
	name   string
	types  []CheckType
	preset any // stands in every check that was read from the API; nil = nothing does
	at     func(*HealthCheck) any
}

var askedTypes = []CheckType{CheckHTTP, CheckTCP, CheckCommand, CheckDocker}

var checkFields = []checkField{
	{"endpoint", []CheckType{CheckHTTP}, nil, func(h *HealthCheck) any { return &h.Endpoint }},
	{"ok_status", []CheckType{CheckHTTP}, nil, func(h *HealthCheck) any { return &h.OKStatus }},
	{"headers", []CheckType{CheckHTTP}, nil, func(h *HealthCheck) any { return &h.Headers }},
	{"port", []CheckType{CheckTCP}, nil, func(h *HealthCheck) any { return &h.Port }},
	{"command", []CheckType{CheckCommand}, nil, func(h *HealthCheck) any { return &h.Command }},
	{"settling_delay", []CheckType{CheckNone}, nil, func(h *HealthCheck) any { return &h.Settle }},
	{"successes", askedTypes, nil, func(h *HealthCheck) any { return &h.Successes }},
	{"start_period", askedTypes, nil, func(h *HealthCheck) any { return &h.StartPeriod }},
	{"interval", askedTypes, DefaultInterval, func(h *HealthCheck) any { return &h.Interval }},
	{"timeout", askedTypes, DefaultTimeout, func(h *HealthCheck) any { return &h.Timeout }},
	{"retries", askedTypes, DefaultRetries, func(h *HealthCheck) any { return &h.Retries }},
}

func (f checkField) of(h *HealthCheck) reflect.Value { return reflect.ValueOf(f.at(h)).Elem() }

// isSet says whether the field says something.
func (f checkField) isSet(h *HealthCheck) bool {
	switch value := f.of(h); value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() > 0
	default:
		return !value.IsZero() && value.Interface() != f.preset
	}
}

// strangers are the fields that are set and mean nothing to the check's type.
func (h *HealthCheck) strangers() []checkField {
	var list []checkField
	for _, f := range checkFields {
		known := h.Type == CheckNone || slices.Contains(askedTypes, h.Type) // what else it may be is refused itself
		if known && f.isSet(h) && !slices.Contains(f.types, h.Type) {
			list = append(list, f)
		}
	}
	return list
}

// refuseStrangers refuses what means nothing to the check's type.
func (h *HealthCheck) refuseStrangers(v *validation) {
	for _, f := range h.strangers() {
		words := make([]string, len(f.types))
		for i, kind := range f.types {
			words[i] = string(kind)
		}
		v.check(false, "health_check."+f.name, "means nothing to a check of type %s; it is for %s", h.Type, strings.Join(words, ", "))
	}
}

// withoutInherited returns a check that was read over base without what it has
// of base and its own type has no use for.
func (h *HealthCheck) withoutInherited(base *HealthCheck) *HealthCheck {
	if h == nil || base == nil {
		return h
	}
	own := *h
	for _, f := range h.strangers() {
		if reflect.DeepEqual(f.of(h).Interface(), f.of(base).Interface()) {
			f.of(&own).SetZero()
		}
	}
	return &own
}

var headerPattern = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, token

// validateCheckLabels refuses a check by label that could not be asked: an
// instance of the older API has no other way to ask for one.
func (s *Spec) validateCheckLabels(v *validation) {
	if !s.Direct {
		return
	}
	for _, label := range CheckLabels {
		if value := s.Labels[label]; value != "" {
			_, err := ParseEndpoint(value, s.Name)
			v.check(err == nil, "labels."+label, "%s", err)
		}
	}
}

// ParseEndpoint reads the URL of an http check, which may ask the replica alone:
// by the name localhost, its service's or its own. The error does not repeat the
// URL, whose query may hold a secret.
func ParseEndpoint(endpoint, service string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return nil, errors.New("must be a URL such as http://localhost:8080/health")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("must begin with http:// or https://, not %q", u.Scheme+"://")
	}
	if u.User != nil {
		return nil, errors.New("must not hold a user or password; use health_check.headers")
	}
	if port := u.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || !validPort(number) {
			return nil, fmt.Errorf("has the port %q; a port is 1 to 65535", port)
		}
	}
	if !ownHost(u.Hostname(), service) {
		return nil, fmt.Errorf("has the host %q; it must be localhost (the replica itself) or %q", u.Hostname(), service)
	}
	return u, nil
}

// ownHost says whether host names the replica itself, its service or a replica of it.
func ownHost(host, service string) bool {
	const mostDigits = 4 // of an index below MaxReplicas
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if service == "" || strings.EqualFold(host, service) {
		return service != ""
	}
	index, ok := strings.CutPrefix(strings.ToLower(host), strings.ToLower(service)+"-")
	return ok && index != "" && len(index) <= mostDigits && strings.Trim(index, "0123456789") == ""
}
