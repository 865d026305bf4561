package proxyhook

import (
	"maps"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// Check says whether the edges can route spec beside the others in service. The
// error is an *fleet.Error that names the field, or several of them joined: kind
// Invalid for what no edge could route, Conflict for what another service
// routes. Warnings tell what was changed on the way.
func Check(s Settings, spec fleet.Spec, others []fleet.Spec) (warnings []string, err error) {
	checked, err := makePlan(s, &spec)
	if err != nil {
		return nil, err
	}
	if err := clash(s.normal(), spec, checked, others); err != nil {
		return nil, err
	}
	return checked.warnings, nil
}

// clash finds a service among others that takes the same requests as spec: one
// host, path prefix and cookie, or a rule that says the same in other words.
func clash(s Settings, spec fleet.Spec, checked *plan, others []fleet.Spec) error {
	own := map[string]string{} // alternative → field
	for _, r := range checked.routers {
		for _, alternative := range alternatives(r.rule) {
			own[alternative] = clashField(spec, r.name, alternative)
		}
	}
	if len(own) == 0 {
		return nil
	}
	for i := range others {
		if others[i].Name == spec.Name {
			continue
		}
		for _, alternative := range specAlternatives(s, &others[i]) {
			if field, taken := own[alternative]; taken {
				return &fleet.Error{Kind: fleet.Conflict, Field: field,
					Message: "the service " + others[i].Name + " takes the same requests: " + alternative}
			}
		}
	}
	return nil
}

// alternatives returns what a rule takes; the rule itself when that would be too much.
func alternatives(r rule) []string {
	if found, ok := r.conjunctions(); ok {
		return found
	}
	return []string{r.text}
}

// specAlternatives returns what an accepted spec takes.
func specAlternatives(s Settings, spec *fleet.Spec) []string {
	if !hasTraefikLabels(spec) && spec.Route != nil && !spec.Direct {
		return routeAlternatives(checkRoute(s, *spec.Route, &mistakes{}))
	}
	accepted, err := makePlan(s, spec)
	if err != nil {
		return nil
	}
	var found []string
	for _, r := range accepted.routers {
		found = append(found, alternatives(r.rule)...)
	}
	return found
}

func hasTraefikLabels(spec *fleet.Spec) bool {
	for key := range spec.Labels {
		if strings.HasPrefix(strings.ToLower(key), labelRoot) {
			return true
		}
	}
	return false
}

// routeAlternatives spells what a checked route takes as rule.conjunctions would
// of its rule, without parsing one.
func routeAlternatives(route fleet.Route) []string {
	if routeRule(route) == "" {
		return nil
	}
	hosts := make([][]string, len(route.Hosts))
	for i, host := range route.Hosts {
		hosts[i] = []string{spell("Host", host)}
	}
	paths := [][]string{nil}
	switch route.PathPrefix {
	case "":
	case "/":
		paths = [][]string{{spell("PathPrefix", "/")}}
	default:
		paths = [][]string{{spell("Path", route.PathPrefix)}, {spell("PathPrefix", route.PathPrefix+"/")}}
	}
	if len(hosts) == 0 {
		hosts = [][]string{nil}
	}
	var cookie []string
	if route.Cookie != nil {
		cookie = []string{cookieMatcher(route.Cookie.Name, route.Cookie.Value, syntaxV3)}
	}
	var found []string
	for _, host := range hosts {
		for _, path := range paths {
			matchers := slices.Concat(host, path, cookie)
			slices.Sort(matchers)
			found = append(found, strings.Join(matchers, " && "))
		}
	}
	return found
}

// clashField names the part of the spec that a taken alternative came from.
func clashField(spec fleet.Spec, router, alternative string) string {
	for _, key := range slices.Sorted(maps.Keys(spec.Labels)) {
		if strings.EqualFold(key, routerLabels+router+".rule") {
			return "labels." + key
		}
	}
	if spec.Route == nil {
		return "labels"
	}
	for i, host := range spec.Route.Hosts {
		if name, err := hostName(host); err == nil && strings.Contains(alternative, spell("Host", name)) {
			return "route.hosts[" + list([]int{i}) + "]"
		}
	}
	if spec.Route.PathPrefix != "" {
		return "route.path_prefix"
	}
	return "route.cookie"
}
