package proxyhook

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/label"

	"edgespawner/fleet"
)

// ContainerLabels returns the traefik.* labels for the app's container, so that
// an own Traefik with the Docker provider finds it: the user's as they stand,
// with rules as the edges have them, and the same for what the route says. Port
// is that of Port; with 0 nothing is added. What belongs to the spawner's own
// edges (failover, the wake leg) has no place in labels.
func ContainerLabels(s Settings, spec fleet.Spec, port int) map[string]string {
	labels := map[string]string{}
	for key, value := range spec.Labels {
		if strings.HasPrefix(strings.ToLower(key), labelRoot) {
			labels[key] = value
		}
	}
	accepted, err := makePlan(s, &spec)
	if err != nil || port == 0 || len(accepted.routers) == 0 {
		return labels
	}
	service := labelService(labels)
	if service == "" {
		service = spec.Name
	}
	portKey := serviceLabels + service + ".loadbalancer.server.port"
	if !hasLabel(labels, portKey) {
		labels[portKey] = strconv.Itoa(port)
	}
	if accepted.scheme != "http" {
		labels[serviceLabels+service+".loadbalancer.server.scheme"] = accepted.scheme
	}
	if !hasLabel(labels, "traefik.enable") {
		labels["traefik.enable"] = "true"
	}
	for _, r := range accepted.routers {
		addRouterLabels(s.normal(), labels, accepted, r, service)
	}
	return labels
}

func hasLabel(labels map[string]string, key string) bool {
	for existing := range labels {
		if strings.EqualFold(existing, key) {
			return true
		}
	}
	return false
}

// labelService returns the name that labels give the load balancer; empty without one.
func labelService(labels map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if parts := strings.Split(key, "."); strings.HasPrefix(strings.ToLower(key), serviceLabels) && len(parts) > 3 {
			return parts[3]
		}
	}
	return ""
}

// addRouterLabels writes what the labels of one router lack.
func addRouterLabels(s Settings, labels map[string]string, accepted *plan, r router, service string) {
	if r.name != routeName || hasRouterLabels(labels, routeName) {
		setLabel(labels, routerLabels+r.name+".rule", r.rule.text)
		setLabel(labels, routerLabels+r.name+".rulesyntax", r.rule.syntax)
		return
	}
	// Two revisions that differ under one name would both be dropped there.
	name := fmt.Sprintf("%s-%08x", accepted.service, sum(r.rule.text, service, labels[serviceLabels+service+".loadbalancer.server.port"]))
	name = strings.ReplaceAll(name, ".", "-")
	middlewares := make([]string, len(r.middlewares))
	for i, middleware := range r.middlewares {
		middlewares[i] = middleware
		if middleware == stripName {
			middlewares[i] = name + "-strip"
			labels[middlewareLabels+middlewares[i]+".stripprefix.prefixes"] = strings.Join(accepted.middlewares[stripName].StripPrefix.Prefixes, ",")
		}
	}
	routers := map[string]*dynamic.Router{}
	plain := &dynamic.Router{EntryPoints: r.plain, Rule: r.rule.text, Middlewares: middlewares, Service: service}
	secure := &dynamic.Router{EntryPoints: r.secure, Rule: r.rule.text, Middlewares: middlewares, Service: service, TLS: r.tls}
	if len(r.plain) > 0 {
		routers[name] = plain
	}
	if len(r.secure) > 0 {
		routers[name+"-tls"] = secure
	}
	if r.redirect {
		redirect := name + "-https"
		labels[middlewareLabels+redirect+".redirectscheme.scheme"] = "https"
		if s.HTTPSPort != defaultHTTPS {
			labels[middlewareLabels+redirect+".redirectscheme.port"] = strconv.Itoa(s.HTTPSPort)
		}
		routers[name] = &dynamic.Router{EntryPoints: []string{s.Web}, Rule: r.rule.text, Middlewares: []string{redirect}, Service: service}
	}
	encoded, err := label.EncodeConfiguration(&dynamic.Configuration{HTTP: &dynamic.HTTPConfiguration{Routers: routers}})
	if err != nil {
		return
	}
	for key, value := range encoded {
		labels[strings.ToLower(key[:len(routerLabels)])+key[len(routerLabels):]] = value
	}
}

func hasRouterLabels(labels map[string]string, name string) bool {
	prefix := routerLabels + strings.ToLower(name) + "."
	for key := range labels {
		if strings.HasPrefix(strings.ToLower(key), prefix) {
			return true
		}
	}
	return false
}

// setLabel sets a label under the spelling that it has already; an empty value sets nothing new.
func setLabel(labels map[string]string, key, value string) {
	for existing := range labels {
		if strings.EqualFold(existing, key) {
			if value == "" {
				delete(labels, existing)
			} else {
				labels[existing] = value
			}
			return
		}
	}
	if value != "" {
		labels[key] = value
	}
}

func sum(parts ...string) uint32 {
	hash := fnv.New32a()
	for _, part := range parts {
		hash.Write([]byte(part + "\x00"))
	}
	return hash.Sum32()
}
