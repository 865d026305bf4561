package proxyhook

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/rules"
)

// readLabelRouters makes the routers of the labels. It returns what is left of
// the route's own rule: nothing, if one of them takes its place.
func (p *planner) readLabelRouters(routeText string) string {
	var routeAlternatives []string
	if parsed, err := parseRule(routeText, syntaxV3); routeText != "" && err == nil {
		routeAlternatives, _ = parsed.conjunctions()
	}
	left, bearer := routeText, ""
	for _, name := range slices.Sorted(maps.Keys(p.set.http.Routers)) {
		labels := p.set.http.Routers[name]
		key := routerLabels + name + "."
		before := len(p.list)
		made := router{name: name, observability: labels.Observability}
		switch {
		case labels.Rule == "" && routeText == "":
			p.add(p.set.field(key+"rule"), "is missing: a router needs a rule, or the service a route")
		case labels.Rule == "" && bearer != "":
			p.add(p.set.field(key+"rule"), "is missing: the router %s has the route's rule already", bearer)
		case labels.Rule == "":
			made.rule, _ = parseRule(routeText, syntaxV3)
			left, bearer = "", name
		default:
			made.rule = p.labelRule(key, labels)
			if p.none() && made.rule.tree != nil && routeAlternatives != nil {
				left = p.againstRoute(key, made.rule, routeAlternatives, left)
			}
		}
		if len(p.list) == before {
			p.addLabelRouter(key, labels, made, bearer == name)
		}
	}
	return left
}

// againstRoute compares a router's rule with that of the route: the same = it
// takes the route's place, a part of it = nobody could say which one wins.
func (p *planner) againstRoute(key string, r rule, route []string, left string) string {
	own, ok := r.conjunctions()
	switch {
	case !ok:
	case slices.Equal(own, route):
		return ""
	case slices.ContainsFunc(own, func(alternative string) bool { return slices.Contains(route, alternative) }):
		p.add(p.set.field(key+"rule"), "takes a part of what the route takes; leave the rule out to change the route's own router")
	}
	return left
}

// labelRule reads the rule of a router's labels, and rewrites it where it takes
// more than it says.
func (p *planner) labelRule(key string, labels *dynamic.Router) rule {
	syntax := syntaxV3
	switch strings.ToLower(labels.RuleSyntax) {
	case "", "v3":
	case syntaxV2:
		syntax = syntaxV2
	default:
		p.add(p.set.field(key+"rulesyntax"), "%q is not v2 or v3", labels.RuleSyntax)
		return rule{}
	}
	parsed, warnings, err := readRule(labels.Rule, syntax, labels.RuleSyntax == "", p.spec.Direct)
	if err != nil {
		p.add(p.set.field(key+"rule"), "Traefik refuses the rule %s: %s", labels.Rule, err)
		return rule{}
	}
	for _, warning := range warnings {
		p.warn("%s: %s", p.set.field(key+"rule"), warning)
	}
	return parsed
}

// readRule reads a user's rule: rewritten to what it means, in the syntax of v3
// if that understands it, else, where free says that none was named, in that of v2.
func readRule(text, syntax string, free, paths bool) (rule, []string, error) {
	rewritten, warnings := exact(text, syntax, paths)
	parsed, err := parseRule(rewritten, syntax)
	if syntax == syntaxV2 && err == nil && len(warnings) > 0 {
		// It may be v2 for the cookie's sake only.
		if modern, again := exact(text, syntaxV3, paths); len(again) > 0 {
			if v3, err := parseRule(modern, syntaxV3); err == nil && portable(v3) {
				return v3, warnings, nil
			}
		}
	}
	if err != nil && syntax == syntaxV3 && free {
		if old, oldWarnings := exact(text, syntaxV2, paths); true {
			if v2, v2err := parseRule(old, syntaxV2); v2err == nil {
				parsed, warnings, err, syntax = v2, oldWarnings, nil, syntaxV2
			}
		}
	}
	if err == nil && syntax == syntaxV3 && free && looksOld(parsed) {
		warnings = append(warnings, "the braces look like a pattern of Traefik v2, which v3 takes as they stand; say rulesyntax=v2 if one is meant")
	}
	if err == nil && syntax == syntaxV2 {
		warnings = append(warnings, "the rule is written for Traefik v2, whose syntax goes away with v4; write it for v3")
	}
	return parsed, warnings, err
}

// oldPattern is how rules of v2 name a part of a host or path.
var oldPattern = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9_-]*(:[^}]*)?\}`)

func looksOld(r rule) bool {
	old := false
	leaves(r.tree, func(leaf *rules.Tree) {
		switch leaf.Matcher {
		case "Host", "HostRegexp", "Path", "PathPrefix":
			old = old || oldPattern.MatchString(leaf.Value[0])
		}
	})
	return old
}

// portable says whether a rule means the same in both syntaxes.
func portable(r rule) bool {
	same := true
	leaves(r.tree, func(leaf *rules.Tree) {
		switch leaf.Matcher {
		case "Host", "Method", "HeaderRegexp":
		case "Path", "PathPrefix":
			same = same && !strings.ContainsAny(leaf.Value[0], "{}")
		default:
			same = false
		}
	})
	return same
}

// addLabelRouter adds a router whose rule is known.
func (p *planner) addLabelRouter(key string, labels *dynamic.Router, made router, ofRoute bool) {
	before := len(p.list)
	p.checkService(key+"service", labels.Service)
	checkMiddlewareNames(p.set, p.set.field(key+"middlewares"), labels.Middlewares, &p.mistakes)
	for _, name := range labels.Middlewares {
		p.used[name] = true
	}
	made.middlewares = slices.Concat(labels.Middlewares, p.balancerMiddlewares())
	if ofRoute {
		made.middlewares = p.withStrip(made.middlewares)
	}
	made.priority = priorityOf(p.spec.Name, made.name, made.rule)
	switch {
	case labels.Priority < 0:
		p.add(p.set.field(key+"priority"), "%d is negative", labels.Priority)
	case labels.Priority > maxUserPriority:
		p.add(p.set.field(key+"priority"), "%d is above %d", labels.Priority, maxUserPriority)
	case labels.Priority > 0:
		made.priority = userPriority(p.spec.Name, made.name, labels.Priority)
	}
	p.serveLabels(key, labels, &made, ofRoute)
	if len(p.list) == before {
		p.finish(made)
	}
}

// serveLabels sets the entry points and the TLS of a router of the labels.
func (p *planner) serveLabels(key string, labels *dynamic.Router, made *router, ofRoute bool) {
	public := p.settings.publicEntryPoints()
	for _, entryPoint := range labels.EntryPoints {
		if !slices.Contains(public, entryPoint) {
			p.add(p.set.field(key+"entrypoints"), "%q is not a public entry point; %s are", entryPoint, strings.Join(public, " and "))
			return
		}
	}
	entryPoints := slices.Compact(slices.Sorted(slices.Values(labels.EntryPoints)))
	switch {
	case labels.TLS == nil && len(entryPoints) == 0 && ofRoute:
		p.serveRoute(made)
	case labels.TLS == nil && len(entryPoints) == 0:
		p.serveOpen(made)
	case labels.TLS == nil && !slices.Contains(entryPoints, p.settings.WebSecure):
		made.plain = entryPoints
	case labels.TLS == nil:
		// Plain HTTP on the entry point for TLS would serve nobody.
		made.plain = slices.DeleteFunc(entryPoints, func(name string) bool { return name == p.settings.WebSecure })
		p.serveSecure(made, []string{p.settings.WebSecure}, &dynamic.RouterTLSConfig{})
	case p.settings.WebSecure == "":
		p.add(p.set.field(key+"tls"), "the edges have no entry point for TLS")
	case len(entryPoints) == 0:
		p.serveSecure(made, []string{p.settings.WebSecure}, p.labelTLS(key, labels.TLS))
	default:
		p.serveSecure(made, entryPoints, p.labelTLS(key, labels.TLS))
	}
}

// serveSecure serves a router with TLS. Plain HTTP is redirected, unless the
// router is served there too.
func (p *planner) serveSecure(made *router, entryPoints []string, tls *dynamic.RouterTLSConfig) {
	made.secure, made.tls = entryPoints, tls
	switch {
	case len(made.plain) > 0 || !slices.Contains(entryPoints, p.settings.WebSecure):
	case p.spec.Direct:
		// Clients of the older tool ask its instances at the plain entry point.
		made.plain = []string{p.settings.Web}
	default:
		made.redirect = true
	}
}

// labelTLS reads a router's TLS labels.
func (p *planner) labelTLS(key string, labels *dynamic.RouterTLSConfig) *dynamic.RouterTLSConfig {
	made := &dynamic.RouterTLSConfig{}
	if labels.Options != "" && labels.Options != "default" {
		p.add(p.set.field(key+"tls.options"), "%q: only the edge's default options can be named", labels.Options)
	}
	switch {
	case labels.CertResolver == "" && len(labels.Domains) > 0:
		p.add(p.set.field(key+"tls.domains"), "needs a certresolver")
	case labels.CertResolver == "":
	case p.settings.CertResolver == "":
		p.warn("%s: the spawner knows no certificate resolver (--cert-resolver), so the edges serve what certificates they have", p.set.field(key+"tls.certresolver"))
	case labels.CertResolver != p.settings.CertResolver:
		p.add(p.set.field(key+"tls.certresolver"), "%q is not the edges' certificate resolver, %s is", labels.CertResolver, p.settings.CertResolver)
	default:
		made.CertResolver, made.Domains = labels.CertResolver, labels.Domains
	}
	for _, domain := range labels.Domains {
		for _, name := range domain.ToStrArray() {
			if _, err := hostName(strings.TrimPrefix(name, "*.")); err != nil {
				p.add(p.set.field(key+"tls.domains"), "%s", err)
			}
		}
	}
	return made
}
