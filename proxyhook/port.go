package proxyhook

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

// Port returns the app's port that routes lead to: that of the route, else of
// the load balancer's label, else the only one of the spec, else the only one
// that the image exposes. 0 without an error when the service is not public.
func Port(spec fleet.Spec, exposed []int) (int, error) {
	if spec.Route != nil && spec.Route.Port != 0 {
		return spec.Route.Port, nil
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Labels)) {
		lower := strings.ToLower(key)
		if strings.HasPrefix(lower, serviceLabels) && strings.HasSuffix(lower, ".loadbalancer.server.port") {
			port, err := labelPort(spec.Labels[key])
			if err != nil {
				return 0, fleet.InvalidField("labels."+key, "%s", err)
			}
			return port, nil
		}
	}
	declared := declaredPorts(spec)
	switch {
	case len(declared) == 1:
		return declared[0], nil
	case len(declared) == 0 && len(exposed) == 1:
		return exposed[0], nil
	case !public(spec):
		return 0, nil
	case len(declared) > 1:
		return 0, fleet.InvalidField("route.port", "is missing, and ports names several: %s", list(declared))
	case len(exposed) > 1:
		return 0, fleet.InvalidField("route.port", "is missing, and the image exposes several: %s", list(exposed))
	default:
		return 0, fleet.InvalidField("route.port", "is missing, and neither ports nor the image's EXPOSE names one")
	}
}

// labelPort reads a port as labels spell it.
func labelPort(text string) (int, error) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%q is not a port between 1 and 65535", text)
	}
	return port, nil
}

// declaredPorts returns the TCP ports of the spec, each once.
func declaredPorts(spec fleet.Spec) []int {
	var ports []int
	for _, port := range spec.Ports {
		if port.Protocol != "udp" && !slices.Contains(ports, port.ContainerPort) {
			ports = append(ports, port.ContainerPort)
		}
	}
	return ports
}

// public says whether requests of the public can reach the service.
func public(spec fleet.Spec) bool {
	if spec.Direct || spec.Route != nil && spec.Route.HasRule() {
		return true
	}
	for key := range spec.Labels {
		if strings.HasPrefix(strings.ToLower(key), routerLabels) {
			return true
		}
	}
	return false
}

func list(ports []int) string {
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = strconv.Itoa(port)
	}
	return strings.Join(words, ", ")
}
