package proxyhook

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"

	"edgespawner/fleet"
)

// readRouters makes the service's routers: those of the labels, and the route's
// own one unless a router of the labels takes its place.
func (p *planner) readRouters() {
	routeText := p.routeText()
	if p.set.disabled {
		if len(p.set.http.Routers) > 0 {
			p.warn("traefik.enable is false, so the routers of the labels are left out")
		}
	} else {
		routeText = p.readLabelRouters(routeText)
	}
	if routeText != "" {
		p.addRouteRouter(routeText)
	}
	slices.SortFunc(p.plan.routers, func(a, b router) int { return strings.Compare(a.name, b.name) })
	p.addRedirects()
}

// routeText is the rule of the spec's route. An instance of the direct-routing
// API is routed by its labels alone if they say how, else by its cookie.
func (p *planner) routeText() string {
	text := routeRule(p.route)
	if !p.spec.Direct {
		return text
	}
	hasRouters := len(p.set.http.Routers) > 0
	switch {
	case hasRouters && p.anyRule():
		return ""
	case text == "" && !hasRouters && !p.set.disabled && p.settings.CookieKey != "" && cookieValue.MatchString(p.spec.Name):
		p.route.Cookie = &fleet.Cookie{Name: p.settings.CookieKey, Value: p.spec.Name}
		return routeRule(p.route)
	}
	return text
}

func (p *planner) anyRule() bool {
	for _, r := range p.set.http.Routers {
		if r.Rule != "" {
			return true
		}
	}
	return false
}

// addRouteRouter makes the router of the spec's route.
func (p *planner) addRouteRouter(text string) {
	parsed, err := parseRule(text, syntaxV3)
	if err != nil {
		p.add("route", "Traefik refuses its rule %s: %s", text, err)
		return
	}
	if p.plan.taken(routeName) {
		p.add(p.set.field(routerLabels+routeName+".rule"), "%q is the name of the route's own router", routeName)
		return
	}
	// What the labels define and none of their routers names stands before the route.
	var attached []string
	for _, name := range slices.Sorted(maps.Keys(p.set.http.Middlewares)) {
		if !p.used[name] {
			p.used[name] = true
			attached = append(attached, name)
		}
	}
	slices.SortStableFunc(attached, func(a, b string) int {
		return boolRank(changesPath(p.plan.middlewares[a])) - boolRank(changesPath(p.plan.middlewares[b]))
	})
	attached = append(attached, p.balancerMiddlewares()...)
	made := router{name: routeName, rule: parsed, priority: priorityOf(p.spec.Name, routeName, parsed), middlewares: p.withStrip(attached)}
	p.serveRoute(&made)
	p.finish(made)
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *plan) taken(name string) bool {
	return slices.ContainsFunc(p.routers, func(r router) bool { return r.name == name })
}

// serveRoute sets where a router with the route's rule is served.
func (p *planner) serveRoute(r *router) {
	if p.route.TLS {
		r.secure = []string{p.settings.WebSecure}
		r.redirect = true
		r.tls = &dynamic.RouterTLSConfig{CertResolver: p.settings.CertResolver}
		if p.settings.CertResolver == "" {
			p.warn("route.tls: the spawner knows no certificate resolver (--cert-resolver), so the edges serve what certificates they have")
		}
		return
	}
	p.serveOpen(r)
}

// serveOpen serves a router that asks for nothing special: plain HTTP, and TLS
// with what certificate the edge has.
func (p *planner) serveOpen(r *router) {
	r.plain = []string{p.settings.Web}
	if p.settings.WebSecure != "" {
		r.secure = []string{p.settings.WebSecure}
		r.tls = &dynamic.RouterTLSConfig{}
	}
}

// withStrip puts the route's strip_prefix in: after what guards the route,
// before what changes paths, which then sees the path as the app would.
func (p *planner) withStrip(names []string) []string {
	if !p.route.StripPrefix {
		return names
	}
	p.plan.middlewares[stripName] = &dynamic.Middleware{StripPrefix: &dynamic.StripPrefix{Prefixes: []string{p.route.PathPrefix}}}
	at := slices.IndexFunc(names, func(name string) bool { return changesPath(p.plan.middlewares[name]) })
	if at < 0 {
		at = len(names)
	}
	return slices.Insert(slices.Clone(names), at, stripName)
}

// balancerMiddlewares are those that the labels hang on the service itself.
// They stand on its routers instead, so that a woken request passes them too.
func (p *planner) balancerMiddlewares() []string {
	if service := p.set.http.Services[p.balancer]; service != nil {
		return service.Middlewares
	}
	return nil
}

// finish adds a router to the plan, with the rule of its bypass.
func (p *planner) finish(r router) {
	if p.plan.failover {
		r.bypass = bypassRule(r.rule, false)
		if r.name == routeName { // the rule is our own, and so is what it becomes
			p.plan.routers = append(p.plan.routers, r)
			return
		}
		if _, err := parseRule(r.bypass, r.rule.syntax); err != nil {
			p.add(p.set.field(routerLabels+r.name+".rule"), "cannot stand inside a larger rule: %s", err)
			return
		}
	}
	p.plan.routers = append(p.plan.routers, r)
}

// bypassRule takes those requests of a rule that failover would break or read
// into memory whole: gRPC, and uploads of a megabyte or of unknown size. Where
// another replica is asked for what one has failed, strange says to take methods,
// too, of which Traefik would take for granted that they may be carried out twice.
func bypassRule(r rule, strange bool) string {
	header := "HeaderRegexp"
	if r.syntax == syntaxV2 {
		header = "HeadersRegexp"
	}
	taken := fmt.Sprintf("%s || ((Method(`POST`) || Method(`PUT`) || Method(`PATCH`)) && !%s)",
		spell(header, "Content-Type", "^application/grpc"), spell(header, "Content-Length", "^[0-9]{1,6}$"))
	if strange {
		var none []string
		for _, method := range usualMethods {
			none = append(none, "!"+spell("Method", method))
		}
		taken += " || (" + strings.Join(none, " && ") + ")"
	}
	return fmt.Sprintf("(%s) && (%s)", r.text, taken)
}

// usualMethods are those that may be carried out twice (RFC 9110, 9.2.2), and
// those that Traefik's retry by status leaves alone.
var usualMethods = []string{
	http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch, http.MethodTrace,
}

// addRedirects lets a service that is served with TLS alone redirect plain
// HTTP, unless another of its routers answers that.
func (p *planner) addRedirects() {
	for i := range p.plan.routers {
		r := &p.plan.routers[i]
		if !r.redirect {
			continue
		}
		own := alternatives(r.rule)
		for _, other := range p.plan.routers {
			if other.name != r.name && slices.Contains(other.plain, p.settings.Web) && slices.Equal(own, alternatives(other.rule)) {
				r.redirect = false
			}
		}
	}
}
