package docker

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"

	"edgespawner/fleet"
)

const driverOverlay = "overlay"

// attendantPriority keeps a network that an edge or a spawner joins from taking
// over its default route, on engines that know priorities (28 and newer).
const attendantPriority = -100

// Networks makes the networks of replicas.
type Networks struct{ pool *Pool }

// Networks returns the view of the pool that makes networks.
func (p *Pool) Networks() *Networks { return &Networks{p} }

// Find returns the network of that very name. One that reaches over a swarm is
// found from each of its nodes, also from one where nobody is on it yet.
func (w *Networks) Find(ctx context.Context, nodeName, name string) (fleet.Network, error) {
	var found fleet.Network
	err := w.pool.askWithin(ctx, infoTimeout, nodeName, "find network "+name, func(ctx context.Context, n *node) (err error) {
		found, err = w.pool.reachableNetwork(ctx, n, name)
		return err
	})
	return found, err
}

// reachableNetwork returns the network of that name that containers of n may be
// on: one of its own, or one that reaches over its swarm.
func (p *Pool) reachableNetwork(ctx context.Context, n *node, name string) (fleet.Network, error) {
	found, missing := findNetwork(ctx, n, name)
	if missing == nil || fleet.KindOf(missing) != fleet.NotFound {
		return found, p.explainLate(n, name, missing)
	}
	manager, err := p.managerOf(ctx, n)
	if err != nil || manager == nil || manager == n {
		return found, errors.Join(err, missing)
	}
	wide, err := findNetwork(ctx, manager, name)
	switch {
	case err == nil && wide.Driver == driverOverlay:
		return wide, nil
	case err == nil || fleet.KindOf(err) == fleet.NotFound:
		return found, missing
	default:
		return found, p.explainLate(manager, name, err)
	}
}

// explainLate tells an engine that is silent from one that waits for its swarm: an
// engine asks the swarm's leader for each network that is looked for by its name.
func (p *Pool) explainLate(n *node, name string, err error) error {
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || !n.inSwarm.Load() {
		return err
	}
	own, cancel := context.WithTimeout(p.ctx, pingTimeout) // the time of the caller is over
	defer cancel()
	if _, silent := n.client.Ping(own); silent != nil {
		return err
	}
	return fail(err, fleet.Unavailable, "networks", "node %s answers, but its swarm did not give it the network %s in time: %s", n.name, name, mayLackLeader)
}

// mayLackLeader is what people are told where a swarm has not done its part in time.
const mayLackLeader = "the swarm may have no leader that answers"

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

// Create makes a network with this fleet's labels. An overlay is made by a
// manager of the node's swarm, and containers of every node may be on it.
func (w *Networks) Create(ctx context.Context, nodeName string, config fleet.NetworkConfig) (fleet.Network, error) {
	var made fleet.Network
	err := w.pool.ask(ctx, nodeName, "create network "+config.Name, func(ctx context.Context, n *node) error {
		options := network.CreateOptions{
			Driver: config.Driver, Internal: config.Internal, Labels: w.pool.owned(config.Labels),
			Attachable: config.Driver == driverOverlay,
		}
		n, err := w.makerOf(ctx, n, config.Driver)
		if err == nil && config.Driver == driverOverlay {
			err = w.pool.refuseOverlap(ctx, n, config.Subnet)
		}
		if err != nil {
			return err
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
		made, err = findNetwork(ctx, n, config.Name)
		return err
	})
	return made, err
}

// makerOf is the node that makes and removes a network of that driver for n.
func (w *Networks) makerOf(ctx context.Context, n *node, driver string) (*node, error) {
	if driver != driverOverlay {
		return n, nil
	}
	manager, err := w.pool.managerOf(ctx, n)
	if err == nil && manager == nil {
		err = fleet.Errorf(fleet.Unavailable, "node %s is in no swarm, or no manager of its swarm answers", n.name)
	}
	return manager, err
}

// Remove removes a network of this fleet; nil when it is not there. Someone
// else's is Forbidden.
func (w *Networks) Remove(ctx context.Context, nodeName, name string) error {
	return w.pool.ask(ctx, nodeName, "remove network "+name, func(ctx context.Context, n *node) error {
		found, err := w.Find(ctx, nodeName, name)
		if err != nil && fleet.KindOf(err) == fleet.NotFound {
			return nil
		}
		if err == nil {
			n, err = w.makerOf(ctx, n, found.Driver)
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
		case err != nil && (strings.Contains(err.Error(), "has active endpoints") || strings.Contains(err.Error(), "is in use by task")):
			return fail(err, fleet.Conflict, "", "network %s of node %s is in use", name, nodeName)
		default:
			return err
		}
	})
}

// connected is in what an engine says of a container that needs not be connected.
var connected = regexp.MustCompile(`already exists in network|is already attached to network|sharing network namespace with another container or host`)

// Connect connects a container to a network; nil when it is connected already.
func (w *Networks) Connect(ctx context.Context, nodeName, name, id string) error {
	return w.pool.ask(ctx, nodeName, "connect container "+short(id)+" to network "+name, func(ctx context.Context, n *node) error {
		err := n.client.NetworkConnect(ctx, name, id, &network.EndpointSettings{GwPriority: attendantPriority})
		if err != nil && connected.MatchString(err.Error()) {
			return nil // it is on it or comes onto it by another call, or is on the host's own, from which every bridge is reached
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
