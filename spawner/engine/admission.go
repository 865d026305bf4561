package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"edgespawner/fleet"
)

// acceptedSpecs holds the newest accepted spec of each service: what a new one
// must not clash with, whether it is in service already or still on its way.
type acceptedSpecs struct {
	mu    sync.Mutex
	specs map[string]*fleet.Spec
}

func (s *acceptedSpecs) set(spec *fleet.Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.specs[spec.Name] = spec
}

func (s *acceptedSpecs) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.specs, name)
}

func (s *acceptedSpecs) get(name string) *fleet.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.specs[name]
}

// othersThan returns the accepted specs of all other services.
func (e *Engine) othersThan(name string) []fleet.Spec {
	e.accepted.mu.Lock()
	defer e.accepted.mu.Unlock()
	others := make([]fleet.Spec, 0, len(e.accepted.specs))
	for other, spec := range e.accepted.specs {
		if other != name {
			others = append(others, *spec)
		}
	}
	slices.SortFunc(others, func(x, y fleet.Spec) int { return strings.Compare(x.Name, y.Name) })
	return others
}

// Spec returns the newest accepted spec of a service, secrets included.
func (e *Engine) Spec(ctx context.Context, name string) (fleet.Spec, error) {
	spec := e.accepted.get(name)
	a, ok := e.actor(name)
	if spec == nil || !ok {
		return fleet.Spec{}, unknown(name)
	}
	current := *spec
	err := a.call(ctx, func() {
		if a.print != nil && a.print.spec == spec {
			current.Replicas = a.desired.Replicas // a scale changed it since
		}
	})
	return current, err
}

// checkAgainstOthers refuses names, host ports and needs that clash with other services.
func (e *Engine) checkAgainstOthers(spec fleet.Spec) error {
	others := e.othersThan(spec.Name)
	for _, other := range others {
		if replicaOf(spec.Name, other.Name) || replicaOf(other.Name, spec.Name) {
			return fleet.InvalidField("name", "%q cannot be told from a replica of the service %q", spec.Name, other.Name)
		}
		for i, port := range spec.Ports {
			if taken(port, other) {
				clash := fleet.Errorf(fleet.Conflict, "%d is held by the service %q", port.HostPort, other.Name)
				clash.Field = fmt.Sprintf("ports[%d].host_port", i)
				return clash
			}
		}
	}
	if chain := needsItself(spec, others); chain != "" {
		return fleet.InvalidField("wake.needs", "leads back to the service itself: %s", chain)
	}
	return nil
}

// replicaOf says whether name reads like a replica of service.
func replicaOf(name, service string) bool {
	index, ok := strings.CutPrefix(name, service+"-")
	return ok && index != "" && strings.Trim(index, "0123456789") == ""
}

func taken(port fleet.Port, other fleet.Spec) bool {
	if port.HostPort == 0 {
		return false
	}
	return slices.ContainsFunc(other.Ports, func(p fleet.Port) bool {
		sameProtocol := (p.Protocol == "udp") == (port.Protocol == "udp")
		mine, theirs := hostAddress(port), hostAddress(p)
		overlap := mine.IsUnspecified() || theirs.IsUnspecified() || mine == theirs
		return p.HostPort == port.HostPort && sameProtocol && overlap
	})
}

// hostAddress is the address of the node that a port is published on;
// unspecified for all of them.
func hostAddress(port fleet.Port) netip.Addr {
	address, err := netip.ParseAddr(port.HostIP)
	if err != nil { // empty: a spec with anything else is refused
		return netip.IPv4Unspecified()
	}
	return address.Unmap()
}

// needsItself follows wake.needs and returns the way back to the spec's own service; "" = there is none.
func needsItself(spec fleet.Spec, others []fleet.Spec) string {
	byName := map[string]fleet.Spec{spec.Name: spec}
	for _, other := range others {
		byName[other.Name] = other
	}
	seen := map[string]bool{}
	var follow func(name string, chain []string) string
	follow = func(name string, chain []string) string {
		for _, need := range byName[name].Wake.Needs {
			next := append(slices.Clone(chain), need)
			if need == spec.Name {
				return strings.Join(next, " → ")
			}
			if seen[need] {
				continue
			}
			seen[need] = true
			if found := follow(need, next); found != "" {
				return found
			}
		}
		return ""
	}
	return follow(spec.Name, []string{spec.Name})
}

// asksRegistry says whether what a reference means may change without the spec changing.
func asksRegistry(spec fleet.Spec) bool {
	if spec.Pull != fleet.PullMissing {
		return spec.Pull == fleet.PullAlways
	}
	if strings.Contains(spec.Image, "@") {
		return false
	}
	last := spec.Image[strings.LastIndex(spec.Image, "/")+1:]
	_, tag, tagged := strings.Cut(last, ":")
	return !tagged || tag == "latest"
}
