package docker

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"edgespawner/fleet"
)

// attendantPriority keeps a network that an edge or a spawner joins from taking
// over its default route, on engines that know priorities (28 and newer).
const attendantPriority = -100

// Networks makes the networks of replicas.
type Networks struct{ pool *Pool }

// Networks returns the view of the pool that makes networks.
func (p *Pool) Networks() *Networks { return &Networks{p} }

// Find returns the network of that very name.
func (w *Networks) Find(ctx context.Context, nodeName, name string) (fleet.Network, error) {
	var found fleet.Network
	err := w.pool.askWithin(ctx, infoTimeout, nodeName, "find network "+name, func(ctx context.Context, n *node) (err error) {
		found, err = findNetwork(ctx, n, name)
		return err
	})
	return found, err
}

func findNetwork(ctx context.Context, n *node, name string) (fleet.Network, error) {
	answer, err := n.client.NetworkInspect(ctx, name, network.InspectOptions{})
	if isNotFound(err) || err == nil && answer.Name != name {
		return fleet.Network{}, fail(err, fleet.NotFound, "", "there is no network %s on node %s", name, n.name)
	}
	if err != nil {
		return fleet.Network{}, err
	}
	return describeNetwork(answer), nil
}

func describeNetwork(answer network.Inspect) fleet.Network {
	found := fleet.Network{ID: answer.ID, Name: answer.Name, Driver: answer.Driver, Labels: answer.Labels}
	for _, config := range answer.IPAM.Config {
		subnet, err := netip.ParsePrefix(config.Subnet)
		if err != nil || !subnet.Addr().Is4() {
			continue
		}
		found.Subnet = subnet.Masked()
		if given, err := netip.ParsePrefix(config.IPRange); err == nil {
			found.IPRange = given.Masked()
		}
		if found.Gateway, err = netip.ParseAddr(strings.Split(config.Gateway, "/")[0]); err != nil {
			found.Gateway = firstAddress(found)
		}
		break
	}
	for id := range answer.Containers {
		found.Containers = append(found.Containers, id)
	}
	slices.Sort(found.Containers)
	return found
}

// firstAddress is what an engine takes for the gateway when nobody says which,
// and then does not tell: the first of what it gives away.
func firstAddress(n fleet.Network) netip.Addr {
	from := n.Subnet
	if n.IPRange.IsValid() {
		from = n.IPRange
	}
	if from.Addr() == n.Subnet.Addr() {
		return from.Addr().Next() // the subnet's own address belongs to nobody
	}
	return from.Addr()
}

// Create makes a network with this fleet's labels, attachable where it spans nodes.
func (w *Networks) Create(ctx context.Context, nodeName string, config fleet.NetworkConfig) (fleet.Network, error) {
	var made fleet.Network
	err := w.pool.ask(ctx, nodeName, "create network "+config.Name, func(ctx context.Context, n *node) error {
		options := network.CreateOptions{
			Driver: config.Driver, Internal: config.Internal, Labels: w.pool.owned(config.Labels),
			Attachable: config.Driver == "overlay",
		}
		if config.Subnet.IsValid() {
			pool := network.IPAMConfig{Subnet: config.Subnet.String()}
			if config.IPRange.IsValid() {
				pool.IPRange = config.IPRange.String()
			}
			options.IPAM = &network.IPAM{Driver: "default", Config: []network.IPAMConfig{pool}}
		}
		if _, err := n.client.NetworkCreate(ctx, config.Name, options); err != nil {
			return err
		}
		var err error
		made, err = findNetwork(ctx, n, config.Name)
		return err
	})
	return made, err
}

// Remove removes a network of this fleet; nil when it is not there. Someone
// else's is Forbidden.
func (w *Networks) Remove(ctx context.Context, nodeName, name string) error {
	return w.pool.ask(ctx, nodeName, "remove network "+name, func(ctx context.Context, n *node) error {
		found, err := findNetwork(ctx, n, name)
		if fleet.KindOf(err) == fleet.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if found.Labels[fleet.LabelFleet] != w.pool.fleetID {
			return fleet.Errorf(fleet.Forbidden, "network %s of node %s is not this fleet's and is left alone", name, nodeName)
		}
		err = n.client.NetworkRemove(ctx, found.ID)
		switch {
		case isNotFound(err):
			return nil
		case err != nil && strings.Contains(err.Error(), "has active endpoints"):
			return fail(err, fleet.Conflict, "", "network %s of node %s is in use", name, nodeName)
		default:
			return err
		}
	})
}

// Connect connects a container to a network; nil when it is connected already.
func (w *Networks) Connect(ctx context.Context, nodeName, name, id string) error {
	return w.pool.ask(ctx, nodeName, "connect container "+short(id)+" to network "+name, func(ctx context.Context, n *node) error {
		err := n.client.NetworkConnect(ctx, name, id, &network.EndpointSettings{GwPriority: attendantPriority})
		if err != nil && (strings.Contains(err.Error(), "already exists in network") || strings.Contains(err.Error(), "sharing network namespace with another container or host")) {
			return nil // it is on it, or on the host's own, from which every bridge is reached
		}
		return err
	})
}

// Disconnect takes a container off a network; nil when it is not connected, or
// when there is no such network or container.
func (w *Networks) Disconnect(ctx context.Context, nodeName, name, id string) error {
	return w.pool.ask(ctx, nodeName, "disconnect container "+short(id)+" from network "+name, func(ctx context.Context, n *node) error {
		err := n.client.NetworkDisconnect(ctx, name, id, false)
		if isNotFound(err) || err != nil && strings.Contains(err.Error(), "is not connected to") {
			return nil
		}
		return err
	})
}

// Attendants returns the running edges and spawners, of this fleet or of none:
// those of a compose file do not know its id.
func (w *Networks) Attendants(ctx context.Context, nodeName string) ([]fleet.Container, error) {
	var list []fleet.Container
	err := w.pool.askWithin(ctx, infoTimeout, nodeName, "list edges and spawners", func(ctx context.Context, n *node) error {
		answer, err := n.client.ContainerList(ctx, container.ListOptions{
			Filters: filters.NewArgs(filters.Arg("label", fleet.LabelRole), filters.Arg("status", "running")),
		})
		if err != nil {
			return err
		}
		for _, summary := range answer {
			role := fleet.Role(summary.Labels[fleet.LabelRole])
			owner, owned := summary.Labels[fleet.LabelFleet]
			if (role == fleet.RoleEdge || role == fleet.RoleSpawner) && (!owned || owner == w.pool.fleetID) {
				list = append(list, listed(n.name, summary))
			}
		}
		return nil
	})
	return list, err
}
