package proxyhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"

	"edgespawner/fleet"
)

// plan is what a spec means to an edge, whatever state the service is in.
type plan struct {
	service     string
	routers     []router // by name
	middlewares map[string]*dynamic.Middleware
	balancer    *dynamic.ServersLoadBalancer // the options of the user's labels; nil = none
	scheme      string                       // http, https or h2c
	failover    bool
	warnings    []string

	fragments []cachedFragment // of the last documents; guarded by the memo's mutex
}

// router is one rule of a service with all that hangs on it.
type router struct {
	name          string // as labels call it, or routeName
	rule          rule
	bypass        string // the rule of what must not pass through failover
	priority      int
	plain         []string // entry points served without TLS
	secure        []string // entry points served with TLS
	redirect      bool     // plain HTTP is redirected to https
	tls           *dynamic.RouterTLSConfig
	middlewares   []string // names in plan.middlewares
	observability *dynamic.RouterObservabilityConfig
}

// guarded says whether only an edge may let a request through to the app:
// middlewares stand before it, or a rule that only the edge can judge.
func (r router) guarded() bool { return len(r.middlewares) > 0 || r.rule.uses("ClientIP") }

// planner makes the plan of one spec.
type planner struct {
	settings Settings
	spec     *fleet.Spec
	set      labelSet
	route    fleet.Route // checked; zero without one
	balancer string      // the name that labels give the service's load balancer; empty = none
	used     map[string]bool
	plan     *plan
	mistakes
}

// makePlan reads a spec. The error names every mistake.
func makePlan(s Settings, spec *fleet.Spec) (*plan, error) {
	p := &planner{settings: s.normal(), spec: spec, used: map[string]bool{}, plan: &plan{
		service: spec.Name, middlewares: map[string]*dynamic.Middleware{}, scheme: "http",
	}}
	p.set = readLabels(spec, &p.mistakes)
	if !p.none() {
		return nil, p.err()
	}
	if spec.Route != nil {
		p.route = checkRoute(p.settings, *spec.Route, &p.mistakes)
	}
	p.readMiddlewares()
	p.readBalancer()
	p.plan.failover = spec.Route.FailoverEnabled() && p.plan.scheme != "h2c"
	p.readRouters()
	p.warnUnused()
	if !p.none() {
		return nil, p.err()
	}
	return p.plan, nil
}

func (p *planner) warn(format string, args ...any) {
	p.plan.warnings = append(p.plan.warnings, fmt.Sprintf(format, args...))
}

func (p *planner) readMiddlewares() {
	for _, name := range slices.Sorted(maps.Keys(p.set.http.Middlewares)) {
		middleware := p.set.http.Middlewares[name]
		middlewareCheck{p.settings, p.set, name, &p.mistakes}.run(middleware)
		p.plan.middlewares[name] = middleware
		if middleware.Chain != nil {
			for _, link := range middleware.Chain.Middlewares {
				p.used[link] = true
			}
		}
	}
	checkReferences(p.set, &p.mistakes)
}

// readBalancer takes the options of the one load balancer that labels may set.
func (p *planner) readBalancer() {
	names := slices.Sorted(maps.Keys(p.set.http.Services))
	for i, name := range names {
		if i > 0 {
			p.add(p.set.field(serviceLabels+name), "a service has one load balancer, and these labels name %s already", names[0])
			return
		}
		p.balancer = name
		service := p.set.http.Services[name]
		field := p.set.field(serviceLabels + name + ".middlewares")
		checkMiddlewareNames(p.set, field, service.Middlewares, &p.mistakes)
		for _, middleware := range service.Middlewares {
			p.used[middleware] = true
		}
		if service.LoadBalancer != nil {
			p.readBalancerOptions(serviceLabels+name+".loadbalancer.", service.LoadBalancer)
		}
	}
	if p.spec.Route != nil && p.spec.Route.Protocol != "" {
		p.plan.scheme = p.spec.Route.Protocol
	}
	p.checkErrorPages()
}

// checkErrorPages refuses error pages that another service would answer.
func (p *planner) checkErrorPages() {
	for _, name := range slices.Sorted(maps.Keys(p.plan.middlewares)) {
		if page := p.plan.middlewares[name].Errors; page != nil {
			p.checkService(middlewareLabels+name+".errors.service", page.Service)
		}
	}
}

// checkService refuses the name of a service that is not the spec's own.
func (p *planner) checkService(key, name string) {
	name = strings.TrimSuffix(name, "@docker")
	switch {
	case name == "" || name == p.balancer:
	case strings.Contains(name, "@"):
		p.add(p.set.field(key), "%q belongs to another provider; routes lead to the service itself", name)
	default:
		p.add(p.set.field(key), "these labels define no service %q", name)
	}
}

func (p *planner) readBalancerOptions(prefix string, balancer *dynamic.ServersLoadBalancer) {
	if len(balancer.Servers) > 1 {
		p.add(p.set.field(prefix+"server"), "a service has one kind of server here")
	}
	for _, server := range balancer.Servers {
		if server.URL != "" {
			p.add(p.set.field(prefix+"server.url"), "routes lead to the service itself, never to another address")
		}
		switch server.Scheme {
		case "":
		case "http", "https", "h2c":
			p.plan.scheme = server.Scheme
		default:
			p.add(p.set.field(prefix+"server.scheme"), "%q is not http, https or h2c", server.Scheme)
		}
		if _, err := labelPort(server.Port); server.Port != "" && err != nil {
			p.add(p.set.field(prefix+"server.port"), "%s", err)
		}
	}
	if balancer.ServersTransport != "" {
		p.add(p.set.field(prefix+"serverstransport"), "transports are the spawner's own")
	}
	switch balancer.Strategy {
	case "", dynamic.BalancerStrategyWRR, dynamic.BalancerStrategyP2C, dynamic.BalancerStrategyHRW, dynamic.BalancerStrategyLeastTime:
	default:
		p.add(p.set.field(prefix+"strategy"), "%q is not wrr, p2c, hrw or leasttime", balancer.Strategy)
	}
	if balancer.HealthCheck != nil || balancer.PassiveHealthCheck != nil {
		p.warn("the load balancer's health check was left out: the spawner probes by itself, and routes lead to healthy replicas only (health_check)")
	}
	p.readSticky(prefix, balancer.Sticky)
	p.plan.balancer = balancer
}

// readSticky gives a sticky cookie without a name one that outlives revisions.
func (p *planner) readSticky(prefix string, sticky *dynamic.Sticky) {
	if sticky == nil {
		return
	}
	if sticky.Cookie == nil {
		sticky.Cookie = &dynamic.Cookie{}
		sticky.Cookie.SetDefaults()
	}
	switch cookie := sticky.Cookie; {
	case cookie.Name == "":
		cookie.Name = "spawner_" + strings.NewReplacer(".", "_", "-", "_").Replace(p.spec.Name)
	case !tokenPattern.MatchString(cookie.Name):
		p.add(p.set.field(prefix+"sticky.cookie.name"), "%q is not a cookie's name", cookie.Name)
	}
	switch strings.ToLower(sticky.Cookie.SameSite) {
	case "", "none", "lax", "strict":
	default:
		p.add(p.set.field(prefix+"sticky.cookie.samesite"), "%q is not none, lax or strict", sticky.Cookie.SameSite)
	}
}

// warnUnused names middlewares that stand before no router: a password that
// nobody is asked for must not go unnoticed.
func (p *planner) warnUnused() {
	for _, name := range slices.Sorted(maps.Keys(p.set.http.Middlewares)) {
		if !p.used[name] {
			p.warn("the middleware %s is named by no router, so it does nothing", name)
		}
	}
}
