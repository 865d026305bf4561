package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"edgespawner/fleet"
)

// Where nodes share a network, edges and probes reach a replica at its
// sandbox's own address. A bridge of another machine is shared with nobody: there
// the sandbox publishes the ports that are needed on the node's address.

// needsPorts says whether a replica on the node is reached by published ports, and
// on which address. The network is the one that edges use.
func (e *Engine) needsPorts(node string, network fleet.Network) (netip.Addr, bool, error) {
	if network.Driver == driverOverlay && e.reachOverlays() {
		return netip.Addr{}, false, nil
	}
	m, ok := e.members.get(node)
	if !ok {
		return netip.Addr{}, false, unknownNode(node)
	}
	n := m.look()
	if e.isHere(n) {
		return netip.Addr{}, false, nil
	}
	for _, text := range []string{n.Address, endpointHost(n.Endpoint)} {
		if address, err := netip.ParseAddr(text); err == nil && !address.Unmap().IsLoopback() {
			return address.Unmap(), true, nil
		}
	}
	return netip.Addr{}, false, fleet.Errorf(fleet.Unavailable,
		"node %s shares no network with the edges and its address is not known: say it with node add --update --address, or join it with --join-network", node)
}

// reachOverlays says whether the networks that nodes share reach the spawner's
// own machine and the edges there: not where other nodes alone are in a swarm.
func (e *Engine) reachOverlays() bool {
	own, ok := e.members.get(e.config.OwnNode)
	return !ok || own.look().Swarm != nil
}

// isHere says whether a node is this machine: another one whose endpoint is a
// loopback address is not, since a tunnel to any machine looks like that.
func (e *Engine) isHere(node fleet.Node) bool {
	host := endpointHost(node.Endpoint)
	address, err := netip.ParseAddr(host)
	loopback := host == "localhost" || err == nil && address.Unmap().IsLoopback()
	return host == "" || loopback && node.Name == e.config.OwnNode
}

// endpointHost is the host in an engine's endpoint; empty for a socket of this machine.
func endpointHost(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "unix" {
		return ""
	}
	return u.Hostname()
}

// neededPorts are the ports of the app that edges and probes dial.
func (b *blueprint) neededPorts() []int {
	var ports []int
	add := func(port int) {
		if port != 0 && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	add(b.port)
	switch b.check.Type {
	case fleet.CheckTCP:
		add(b.check.Port)
	case fleet.CheckHTTP:
		if u, err := url.Parse(b.check.Endpoint); err == nil {
			port, err := strconv.Atoi(u.Port())
			if err != nil {
				port = map[string]int{"http": 80, "https": 443}[u.Scheme]
			}
			add(port)
		}
	}
	return ports
}

// publishForEdges takes a port of the node for each that edges and probes dial,
// and returns what the sandbox is to publish.
func (r *replica) publishForEdges(ctx context.Context, network fleet.Network, holder string) ([]fleet.Port, error) {
	address, needed, err := r.engine.needsPorts(r.node, network)
	if err != nil || !needed {
		r.setReach(netip.Addr{}, nil)
		return nil, err
	}
	published := map[int]int{}
	var list []fleet.Port
	for _, port := range r.print.neededPorts() {
		given, err := r.engine.addresses.TakePort(ctx, r.node, r.engine.config.Ports, holder, r.taken)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot take a port of node %s: %w", r.node, err), r.engine.addresses.Release(context.WithoutCancel(ctx), holder))
		}
		published[port] = given
		list = append(list, fleet.Port{ContainerPort: port, HostPort: given, HostIP: address.String(), Protocol: "tcp"})
	}
	r.setReach(address, published)
	return list, nil
}

func (r *replica) setReach(address netip.Addr, published map[int]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published, r.reach = published, address
}

// isReached takes from a sandbox that was found how edges reach the replica: by
// the ports that it publishes on the node's address beside those of the spec.
func (r *replica) isReached(sandbox fleet.Container) bool {
	published := map[int]int{}
	var address netip.Addr
	for _, port := range sandbox.Ports {
		own := slices.ContainsFunc(publishedPorts(r.print.spec), func(p fleet.Port) bool { return p.HostPort == port.HostPort })
		on, err := netip.ParseAddr(port.HostIP)
		if own || err != nil || on.IsUnspecified() || !slices.Contains(r.print.neededPorts(), port.ContainerPort) {
			continue
		}
		published[port.ContainerPort], address = port.HostPort, on
	}
	if len(published) == 0 {
		return false
	}
	r.setReach(address, published)
	return true
}

// holdsHostPorts says whether a sandbox that was found publishes the service's own host ports.
func holdsHostPorts(spec *fleet.Spec, sandbox fleet.Container) bool {
	return slices.ContainsFunc(publishedPorts(spec), func(p fleet.Port) bool {
		return slices.ContainsFunc(sandbox.Ports, func(q fleet.Port) bool { return q.HostPort == p.HostPort })
	})
}

// anotherPort says whether a start failed because something else has a port that
// edges were to use; then it is not tried again for this replica.
func (r *replica) anotherPort(err error) bool {
	var e *fleet.Error
	if !errors.As(err, &e) || e.Field != fieldHostPort {
		return false
	}
	for _, port := range r.look().published {
		if strings.Contains(e.Message, fmt.Sprintf("port %d ", port)) {
			r.taken = append(r.taken, port)
			return true
		}
	}
	return false
}

// anotherAddress says whether a start failed because something else has the address
// that was given to the sandbox, or the engine takes it for taken (it has not let go
// of one that is gone). Made anew, the sandbox gets one that was not given before.
func (r *replica) anotherAddress(err error) bool {
	var e *fleet.Error
	return errors.As(err, &e) && e.Field == fieldAddress && r.fixedAddress
}

// publishedForEdges are the ports of the node at which edges and probes reach the
// replica, in the order of the app's; nil where they reach its own address.
func (v view) publishedForEdges() []fleet.Port {
	var list []fleet.Port
	for _, port := range slices.Sorted(maps.Keys(v.published)) {
		list = append(list, fleet.Port{ContainerPort: port, HostPort: v.published[port], HostIP: v.reach.String(), Protocol: "tcp"})
	}
	return list
}

// dialled is the port at which a port of the app is dialled.
func (v view) dialled(port int) int {
	if at, ok := v.published[port]; ok {
		return at
	}
	return port
}
