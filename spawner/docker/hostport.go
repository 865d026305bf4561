package docker

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strconv"

	"github.com/docker/docker/api/types/container"

	"edgespawner/fleet"
)

const (
	fieldHostPort = "host_port"
	anyIPv4       = "0.0.0.0"
)

func fieldOf(err error) string {
	var seen *fleet.Error
	if errors.As(err, &seen) {
		return seen.Field
	}
	return ""
}

// explainHostPort says which published port of a container is taken and by
// whom, which the engine never tells: a container of the node, else a process.
func (c *Containers) explainHostPort(ctx context.Context, n *node, id string, cause error) error {
	var wanted []fleet.Port
	if found, err := n.client.ContainerInspect(ctx, id); err == nil && found.HostConfig != nil {
		wanted = bound(found.HostConfig.PortBindings)
	}
	if port := namedPort(cause.Error()); port != 0 {
		if named := only(wanted, port); len(named) > 0 {
			wanted = named
		} else {
			wanted = []fleet.Port{{HostPort: port, HostIP: anyIPv4, Protocol: "tcp"}}
		}
	}
	running, err := n.client.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		c.pool.log.Warn("Cannot look up who holds a port", "node", n.name, "error", err)
	}
	for _, port := range wanted {
		for _, summary := range running {
			if holder := listed(n.name, summary); holder.ID != id && publishes(holder, port) {
				return hostPortTaken(cause, n, port.HostPort, "container "+holder.Name)
			}
		}
	}
	if len(wanted) == 0 {
		return fail(cause, fleet.Conflict, fieldHostPort, "a published port is taken on node %s: %s", n.name, engineMessage(cause))
	}
	return hostPortTaken(cause, n, wanted[0].HostPort, "a process of the host")
}

func hostPortTaken(cause error, n *node, port int, holder string) error {
	return fail(cause, fleet.Conflict, fieldHostPort, "port %d of node %s is taken by %s", port, n.name, holder)
}

// portPatterns find the port in what engines of several versions say.
var portPatterns = []*regexp.Regexp{
	regexp.MustCompile(`Bind for \S*:(\d+) failed`),
	regexp.MustCompile(`failed to bind host port (?:for )?\S*?:(\d+)[:/ ]`),
	regexp.MustCompile(`(?:listen|bind)\S* (?:tcp|udp|sctp)\d? \S*:(\d+): bind`),
}

// namedPort is the port that the engine's message names; 0 = none.
func namedPort(message string) int {
	for _, pattern := range portPatterns {
		if match := pattern.FindStringSubmatch(message); match != nil {
			if port, err := strconv.Atoi(match[1]); err == nil {
				return port
			}
		}
	}
	return 0
}

func only(ports []fleet.Port, number int) []fleet.Port {
	var kept []fleet.Port
	for _, port := range ports {
		if port.HostPort == number {
			kept = append(kept, port)
		}
	}
	return kept
}

// publishes says whether the container holds that port of the node.
func publishes(c fleet.Container, port fleet.Port) bool {
	for _, held := range c.Ports {
		if held.HostPort == port.HostPort && protocol(held.Protocol) == protocol(port.Protocol) && overlap(held.HostIP, port.HostIP) {
			return true
		}
	}
	return false
}

// overlap says whether two addresses to listen at exclude each other.
func overlap(a, b string) bool {
	one, errOne := netip.ParseAddr(hostIP(a))
	two, errTwo := netip.ParseAddr(hostIP(b))
	if errOne != nil || errTwo != nil {
		return true
	}
	return one == two || one.IsUnspecified() || two.IsUnspecified()
}
