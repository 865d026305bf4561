package proxyhook

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/label"

	"edgespawner/fleet"
)

const (
	labelRoot        = "traefik."
	routerLabels     = "traefik.http.routers."
	serviceLabels    = "traefik.http.services."
	middlewareLabels = "traefik.http.middlewares."
)

// labelSet is what a spec's traefik.* labels say.
type labelSet struct {
	http     *dynamic.HTTPConfiguration // never nil
	keys     map[string]string          // lower case → as the user wrote it
	disabled bool                       // traefik.enable=false
}

// readLabels decodes a spec's labels with Traefik's own code. What may not stand
// in a label is refused by its key.
func readLabels(spec *fleet.Spec, m *mistakes) labelSet {
	set := labelSet{http: &dynamic.HTTPConfiguration{}, keys: map[string]string{}}
	decodable := map[string]string{}
	found := &mistakes{}
	for _, key := range slices.Sorted(maps.Keys(spec.Labels)) {
		lower := strings.ToLower(key)
		if lower == fleet.LabelOrigin || strings.HasPrefix(lower, "spawner.") || strings.HasPrefix(lower, "com.docker.") {
			found.add("labels."+key, "is a key that the spawner or the engine sets itself")
			continue
		}
		if !strings.HasPrefix(lower, labelRoot) {
			continue
		}
		if first, twice := set.keys[lower]; twice {
			found.add("labels."+key, "stands twice, the first time as %s", first)
			continue
		}
		set.keys[lower] = key
		switch {
		case lower == "traefik.enable":
			enabled, err := strconv.ParseBool(spec.Labels[key])
			if err != nil {
				found.add("labels."+key, "%q is not true or false", spec.Labels[key])
			}
			set.disabled = err == nil && !enabled
		case strings.HasPrefix(lower, "traefik.docker."), strings.HasPrefix(lower, "traefik.swarm."):
			// meant for a Traefik that reads labels itself
		default:
			if problem := labelProblem(key); problem != "" {
				found.add("labels."+key, "%s", problem)
				continue
			}
			decodable[key] = spec.Labels[key]
		}
	}
	if found.none() {
		set.decode(decodable, found)
	}
	m.list = append(m.list, found.list...)
	return set
}

var labelName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// revisionLike is what would let one service's name end where another's begins.
var revisionLike = regexp.MustCompile(`(^|-)r[0-9]+-`)

// labelProblem says why a label below traefik. is refused; empty = it may be decoded.
func labelProblem(key string) string {
	parts := strings.Split(key, ".")
	for _, part := range parts {
		if part == "" || part[0] == '[' || strings.HasSuffix(part, "]") && strings.Count(part, "[") != 1 {
			return "is not a label of Traefik: a name between the dots is missing or has a bracket too many"
		}
	}
	if parts[0] != "traefik" {
		return "must begin with traefik. in lower case"
	}
	switch strings.ToLower(parts[1]) {
	case "http":
	case "tcp", "udp":
		return "TCP and UDP routing is not offered"
	case "tls":
		return "certificate stores belong to the spawner"
	default:
		return "is not known to Traefik: traefik.http.routers, traefik.http.middlewares and traefik.http.services are, traefik.enable and traefik.docker too"
	}
	if len(parts) < 5 {
		return "is incomplete: traefik.http.<routers, middlewares or services>.<name>.<setting> was expected"
	}
	if !labelName.MatchString(parts[3]) || revisionLike.MatchString(parts[3]) {
		return fmt.Sprintf("the name %q may hold letters, digits, _ and - only, and no -r1-", parts[3])
	}
	setting, _, _ := strings.Cut(strings.ToLower(parts[4]), "[")
	switch strings.ToLower(parts[2]) {
	case "routers":
		if setting == "parentrefs" {
			return "routers below routers cannot be made by labels"
		}
	case "services":
		if setting != "loadbalancer" && setting != "middlewares" {
			return "a service is a loadbalancer here; other kinds cannot be made by labels"
		}
	case "middlewares":
		if setting == "plugin" {
			return "plugins are not allowed"
		}
		if !middlewareKinds[setting] {
			return fmt.Sprintf("Traefik knows no middleware %q", parts[4])
		}
	case "serverstransports", "models":
		return "cannot be made by labels"
	default:
		return "is not known to Traefik: routers, middlewares and services are"
	}
	return ""
}

// middlewareKinds are the kinds of middleware that labels can make, in lower case.
var middlewareKinds = func() map[string]bool {
	kinds := map[string]bool{}
	for field := range reflect.TypeFor[dynamic.Middleware]().Fields() {
		if field.Tag.Get("label") != "-" {
			kinds[strings.ToLower(field.Name)] = true
		}
	}
	return kinds
}()

// decode fills the set in; a label that Traefik's decoder refuses is named.
func (set *labelSet) decode(labels map[string]string, m *mistakes) {
	if len(labels) == 0 {
		return
	}
	decoded, err := decodeLabels(labels)
	if err == nil {
		set.http = decoded
		return
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if _, single := decodeLabels(map[string]string{key: labels[key]}); single != nil {
			m.add("labels."+key, "Traefik refuses it: %s", single)
		}
	}
	if m.none() {
		m.add("labels", "Traefik refuses them together: %s", err)
	}
}

func decodeLabels(labels map[string]string) (decoded *dynamic.HTTPConfiguration, err error) {
	defer func() { // a decoder of strangers' text must not take the process along
		if r := recover(); r != nil {
			decoded, err = nil, fmt.Errorf("cannot decode: %v", r)
		}
	}()
	configuration, err := label.DecodeConfiguration(labels)
	if err != nil {
		return nil, err
	}
	if configuration.HTTP == nil {
		return nil, errors.New("they say nothing")
	}
	return configuration.HTTP, nil
}

// field returns the name of the user's label for an error: the label itself if
// there is one, else the first one below it, else the words as given.
func (set labelSet) field(key string) string {
	lower := strings.ToLower(key)
	if original, ok := set.keys[lower]; ok {
		return "labels." + original
	}
	for _, candidate := range slices.Sorted(maps.Keys(set.keys)) {
		if strings.HasPrefix(candidate, lower+".") || strings.HasPrefix(candidate, lower+"[") {
			return "labels." + set.keys[candidate]
		}
	}
	return "labels." + key
}
