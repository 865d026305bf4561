package proxyhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"

	"edgespawner/fleet"
)

// fragment is one service's part of a document: the members of three JSON
// objects, without their braces.
type fragment struct{ routers, services, middlewares []byte }

// fragmentKey is all that a service's fragment depends on beside its plan.
type fragmentKey struct {
	revision  int
	resolver  bool // its certificates are ordered
	endpoints string
}

type cachedFragment struct {
	key  fragmentKey
	part fragment
}

// keptFragments is how many fragments of a service are kept: awake and asleep,
// for edges that order certificates and such that do not.
const keptFragments = 4

// fragmentLocked returns the service's fragment, made now or before.
func (p *plan) fragmentLocked(s Settings, routed *fleet.Routed, resolver bool) (fragment, error) {
	key := fragmentKey{revision: routed.Revision, resolver: resolver, endpoints: endpointsKey(routed.Endpoints)}
	for _, known := range p.fragments {
		if known.key == key {
			return known.part, nil
		}
	}
	part, err := drawing{settings: s.normal(), plan: p, routed: routed, resolver: resolver}.fragment()
	if err != nil {
		return fragment{}, err
	}
	if len(p.fragments) == keptFragments {
		p.fragments = slices.Delete(p.fragments, 0, 1)
	}
	p.fragments = append(p.fragments, cachedFragment{key, part})
	return part, nil
}

func endpointsKey(endpoints []fleet.Endpoint) string {
	var key strings.Builder
	for _, endpoint := range endpoints {
		key.WriteString(endpoint.Addr.String())
		key.WriteByte(' ')
	}
	return key.String()
}

// drawing is the making of one fragment.
type drawing struct {
	settings Settings
	plan     *plan
	routed   *fleet.Routed
	resolver bool
}

func (d drawing) name(local string) string {
	return fmt.Sprintf("%s-r%d-%s", d.plan.service, d.routed.Revision, local)
}

func (d drawing) awake() bool { return len(d.routed.Endpoints) > 0 }

// failsOver says whether the wake leg rescues what the app fails.
func (d drawing) failsOver() bool { return d.awake() && d.plan.failover }

// destination is the Traefik service that the routers lead to in this state.
func (d drawing) destination() string {
	switch {
	case !d.awake():
		return wakeLeg(d.plan.service)
	case d.failsOver():
		return d.name(failoverName)
	default:
		return d.name(appName)
	}
}

func (d drawing) fragment() (fragment, error) {
	routers, err := members(d.routers())
	if err != nil {
		return fragment{}, err
	}
	services, err := members(d.services())
	if err != nil {
		return fragment{}, err
	}
	middlewares, err := members(d.middlewares())
	if err != nil {
		return fragment{}, err
	}
	return fragment{routers: routers, services: services, middlewares: middlewares}, nil
}

// members writes a map as the members of a JSON object, sorted, without braces.
func members[T any](values map[string]T) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // rules are full of & and stay readable
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := encoder.Encode(name); err != nil {
			return nil, fmt.Errorf("cannot encode %s: %w", name, err)
		}
		out.Truncate(out.Len() - 1) // the encoder's line break
		out.WriteByte(':')
		if err := encoder.Encode(values[name]); err != nil {
			return nil, fmt.Errorf("cannot encode %s: %w", name, err)
		}
		out.Truncate(out.Len() - 1)
	}
	return out.Bytes(), nil
}

// routers draws every router of the plan. They are the same in every state but
// for what they lead to, so that a sleeper loses no request to a broader rule
// and sleep is no way around a middleware.
func (d drawing) routers() map[string]*dynamic.Router {
	drawn := map[string]*dynamic.Router{}
	for _, r := range d.plan.routers {
		name := d.name(r.name)
		if len(r.plain) > 0 {
			d.pair(drawn, name, r, dynamic.Router{EntryPoints: r.plain})
		}
		if len(r.secure) > 0 {
			if len(r.plain) > 0 {
				name += secureSuffix
			}
			d.pair(drawn, name, r, dynamic.Router{EntryPoints: r.secure, TLS: d.tls(r)})
		}
		if r.redirect {
			drawn[d.name(r.name)+redirectSuffix] = d.redirect(r)
		}
	}
	return drawn
}

// pair draws a router and, where failover stands behind it, its bypass.
func (d drawing) pair(drawn map[string]*dynamic.Router, name string, r router, served dynamic.Router) {
	served.Rule, served.RuleSyntax, served.Priority = r.rule.text, r.rule.syntax, r.priority
	served.Observability = r.observability
	served.Service = d.destination()
	served.Middlewares = d.names(r.middlewares)
	drawn[name] = &served
	if d.failsOver() {
		bypass := served
		bypass.Rule, bypass.Priority, bypass.Service = r.bypass, r.priority+1, d.name(appName)
		if d.asksAnother() {
			bypass.Rule = bypassRule(r.rule, true)
		}
		drawn[name+bypassSuffix] = &bypass
	}
}

// redirect draws the router that answers plain HTTP of a service with TLS. What
// a trusted proxy before the edge received by TLS is not redirected: it goes on,
// past all that guards the service.
func (d drawing) redirect(r router) *dynamic.Router {
	drawn := &dynamic.Router{
		EntryPoints: []string{d.settings.Web}, Rule: r.rule.text, RuleSyntax: r.rule.syntax, Priority: r.priority,
		Middlewares: append([]string{sharedRedirect}, d.names(r.middlewares)...), Service: d.name(appName),
	}
	if !d.awake() {
		drawn.Service = wakeLeg(d.plan.service)
	}
	return drawn
}

// names returns middlewares as the document spells them.
func (d drawing) names(locals []string) []string {
	var names []string
	for _, local := range locals {
		names = append(names, d.name(local))
	}
	return names
}

func (d drawing) tls(r router) *dynamic.RouterTLSConfig {
	if d.resolver || r.tls.CertResolver == "" {
		return r.tls
	}
	return &dynamic.RouterTLSConfig{}
}

// services draws the app, its failover and the wake leg, as far as something leads to them.
func (d drawing) services() map[string]*dynamic.Service {
	drawn := map[string]*dynamic.Service{}
	if d.awake() {
		drawn[d.name(appName)] = d.app()
	}
	if d.failsOver() {
		drawn[d.name(failoverName)] = &dynamic.Service{Failover: &dynamic.Failover{
			Service: d.name(guardName), Fallback: wakeLeg(d.plan.service),
			Errors: &dynamic.FailoverError{Status: failoverStatus()},
		}}
		drawn[d.name(guardName)] = d.guard()
	}
	if !d.awake() || d.failsOver() {
		drawn[wakeLeg(d.plan.service)] = fallbackService(d.settings, wakeLeg(d.plan.service)+legSuffix)
	}
	return drawn
}

// app draws the load balancer over the ready replicas.
func (d drawing) app() *dynamic.Service {
	balancer := &dynamic.ServersLoadBalancer{}
	var like dynamic.Server
	if options := d.plan.balancer; options != nil {
		balancer.Sticky, balancer.Strategy = options.Sticky, options.Strategy
		balancer.PassHostHeader, balancer.ResponseForwarding = options.PassHostHeader, options.ResponseForwarding
		if len(options.Servers) == 1 {
			like = options.Servers[0]
		}
	}
	if balancer.PassHostHeader == nil {
		balancer.PassHostHeader = new(true)
	}
	balancer.ServersTransport = sharedAppTransport
	if d.plan.scheme == "https" {
		balancer.ServersTransport = sharedAppTLSTransport
	}
	for _, endpoint := range d.routed.Endpoints {
		balancer.Servers = append(balancer.Servers, dynamic.Server{
			URL: d.plan.scheme + "://" + endpoint.Addr.String(), PreservePath: like.PreservePath,
		})
	}
	service := &dynamic.Service{LoadBalancer: balancer}
	if len(balancer.Servers) > 1 {
		service.Middlewares = []string{sharedReplicaRetry}
		if balancer.Strategy == "" {
			// A replica that does not answer keeps its requests in flight, and so gets
			// no more of them: one in turn would cost a second each time.
			balancer.Strategy = dynamic.BalancerStrategyP2C
		}
	}
	return service
}

// guard draws what stands between the failover and the app, and not before a
// request that passes by the failover. A balancer of one carries its middlewares.
func (d drawing) guard() *dynamic.Service {
	guard := &dynamic.Service{
		Weighted:    &dynamic.WeightedRoundRobin{Services: []dynamic.WRRService{{Name: d.name(appName)}}},
		Middlewares: []string{sharedGatewayErrors},
	}
	if d.asksAnother() {
		guard.Middlewares = []string{sharedOtherReplica, sharedGatewayErrors}
	}
	return guard
}

// asksAnother says whether a request that a replica has failed may find another
// one: a sticky cookie leads to the same each time.
func (d drawing) asksAnother() bool {
	sticky := d.plan.balancer != nil && d.plan.balancer.Sticky != nil
	return len(d.routed.Endpoints) > 1 && !sticky
}

// middlewares draws those that the routers name, and the headers of the wake leg.
func (d drawing) middlewares() map[string]*dynamic.Middleware {
	drawn := map[string]*dynamic.Middleware{}
	needed := map[string]bool{}
	for _, r := range d.plan.routers {
		for _, name := range r.middlewares {
			d.need(needed, name)
		}
	}
	for name := range needed {
		drawn[d.name(name)] = d.middleware(d.plan.middlewares[name])
	}
	if !d.awake() || d.failsOver() {
		leg := LegAsleep
		if d.awake() {
			leg = LegFailover
		}
		drawn[wakeLeg(d.plan.service)+legSuffix] = requestHeaders(map[string]string{
			HeaderEdge: d.settings.EdgeSecret, HeaderService: d.plan.service, HeaderLeg: leg, HeaderConfig: "",
		})
	}
	return drawn
}

func (d drawing) need(needed map[string]bool, name string) {
	if needed[name] {
		return
	}
	needed[name] = true
	if chain := d.plan.middlewares[name].Chain; chain != nil {
		for _, link := range chain.Middlewares {
			d.need(needed, link)
		}
	}
}

// middleware returns a middleware with the names that it holds as the document spells them.
func (d drawing) middleware(middleware *dynamic.Middleware) *dynamic.Middleware {
	switch {
	case middleware.Chain != nil:
		return &dynamic.Middleware{Chain: &dynamic.Chain{Middlewares: d.names(middleware.Chain.Middlewares)}}
	case middleware.Errors != nil:
		page := *middleware.Errors
		page.Service = d.destination()
		return &dynamic.Middleware{Errors: &page}
	default:
		return middleware
	}
}
