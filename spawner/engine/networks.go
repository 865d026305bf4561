package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgespawner/fleet"
)

// How networks of our own are cut: strangers get the last 1/16 of the subnet,
// sandboxes fixed addresses from the rest.
const (
	driverBridge     = "bridge"
	subnetBits       = 20 // 4,094 addresses a network
	subnetCandidates = 256
	attendTimeout    = 30 * time.Second
)

// networks keeps the networks of replicas: it makes the ones that are missing,
// brings edges and spawners onto them, and lets go of those that nobody uses.
type networks struct {
	engine *Engine
	users  users
	turns  *turns // one change of a node's networks at a time
	joins  *turns // of a node's edges to a network, one at a time: two looks could bring the same edge onto it

	attended attended
	removals removals
}

// ensure returns the networks of those names on the node (none = the fleet's
// own), made and attended.
func (n *networks) ensure(ctx context.Context, node string, wanted []string) ([]fleet.Network, error) {
	release, err := n.turns.acquire(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the networks of node %s: %w", node, err)
	}
	defer release()
	list := make([]fleet.Network, 0, len(wanted)+1)
	for _, name := range n.orDefault(wanted) {
		network, err := n.ensureOne(ctx, node, name)
		if err != nil {
			return nil, err
		}
		if err := n.attendEverywhere(ctx, node, network); err != nil {
			return nil, err
		}
		list = append(list, network)
	}
	return list, nil
}

func (n *networks) orDefault(wanted []string) []string {
	if len(wanted) == 0 {
		return []string{n.engine.config.Network}
	}
	return wanted
}

// ownName is the name of a network that the spawner makes for a group of
// services: it sorts last, so that an edge which joins it keeps its default gateway.
func (n *networks) ownName(name string) string {
	if name == n.engine.config.Network {
		return name
	}
	return "z-" + n.engine.config.FleetID + "-" + name
}

func (n *networks) ensureOne(ctx context.Context, node, name string) (fleet.Network, error) {
	if network, err := n.shared(ctx, node, name); err == nil || fleet.KindOf(err) != fleet.NotFound {
		return network, err
	}
	for _, candidate := range []string{name, n.ownName(name)} {
		network, err := n.engine.nets.Find(ctx, node, candidate)
		if err == nil {
			return network, nil
		}
		if fleet.KindOf(err) != fleet.NotFound {
			return fleet.Network{}, fmt.Errorf("cannot look for network %s: %w", candidate, err)
		}
	}
	return n.make(ctx, node, n.ownName(name), driverBridge)
}

// make creates a network on the first of our subnets that overlaps no other: of a
// bridge the engine sees to that, of an overlay what is used on any node counts.
// Overlays begin with the second half of them, so that no node has a bridge there.
func (n *networks) make(ctx context.Context, node, name, driver string) (fleet.Network, error) {
	var err error
	start := 0
	if driver == driverOverlay {
		start = subnetCandidates / 2
	}
	for i := start; ; i++ {
		if i == subnetCandidates {
			err = noneFree(n.candidate(start), n.candidate(i-1), err)
			break
		}
		subnet := n.candidate(i)
		config := fleet.NetworkConfig{Name: name, Driver: driver, Subnet: subnet, IPRange: strangersRange(subnet)}
		var network fleet.Network
		network, err = n.engine.nets.Create(ctx, node, config)
		if err == nil {
			n.engine.log.Info("Created network", "node", node, "network", name, "subnet", subnet)
			return network, nil
		}
		var e *fleet.Error
		if !errors.As(err, &e) || e.Field != "subnet" || n.engine.config.Subnet.IsValid() && name == n.engine.config.Network {
			break
		}
	}
	return fleet.Network{}, fmt.Errorf("cannot create network %s: %w", name, err)
}

// noneFree is what is said when every subnet of ours is in use.
func noneFree(first, last netip.Prefix, err error) error {
	return fleet.Errorf(fleet.Conflict, "none of the subnets from %s to %s is free; of the last: %s", first, last, err).About("subnet")
}

// candidate returns the i-th subnet to try, from 10.192.0.0/12 on.
func (n *networks) candidate(i int) netip.Prefix {
	if n.engine.config.Subnet.IsValid() && i == 0 {
		return n.engine.config.Subnet
	}
	third := i << (24 - subnetBits) // in units of /24
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(192 + third>>8), byte(third), 0}), subnetBits)
}

// strangersRange is the last sixteenth of a subnet.
func strangersRange(subnet netip.Prefix) netip.Prefix {
	bits := min(subnet.Bits()+4, 30)
	address := subnet.Masked().Addr().As4()
	for bit := subnet.Bits(); bit < bits; bit++ {
		address[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.PrefixFrom(netip.AddrFrom4(address), bits)
}

// attend brings the edges and spawners that run as containers on the node onto the network.
func (n *networks) attend(ctx context.Context, node string, network fleet.Network) error {
	release, err := n.joins.acquire(ctx, node+"/"+network.Name)
	if err != nil {
		return fmt.Errorf("cannot look for edges on node %s: %w", node, err)
	}
	defer release()
	attendants, err := n.engine.nets.Attendants(ctx, node)
	if err != nil {
		return fmt.Errorf("cannot look for edges on node %s: %w", node, err)
	}
	for _, a := range attendants {
		if _, there := a.Addresses[network.Name]; there {
			continue
		}
		err := n.engine.nets.Connect(ctx, node, network.Name, a.ID)
		switch {
		case err == nil, fleet.KindOf(err) == fleet.NotFound: // it has gone meanwhile; a network that has gone shows when the sandbox is made
		case a.Labels[fleet.LabelFleet] == "": // whose it is cannot be known, so it must not keep a service down
			n.engine.log.Warn("Cannot connect an edge that carries no fleet", "node", node, "container", a.Name, "network", network.Name, "error", err)
		default:
			return fmt.Errorf("cannot connect %s to network %s: %w", a.Name, network.Name, err)
		}
	}
	return nil
}

// attendAgain connects an edge or spawner that was started after the replicas.
func (n *networks) attendAgain(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, attendTimeout)
	defer cancel()
	release, err := n.turns.acquire(ctx, node)
	if err != nil {
		return fmt.Errorf("cannot look at the networks of node %s: %w", node, err)
	}
	defer release()
	for _, name := range n.toAttend(node) {
		if err := n.removals.wait(ctx, name); err != nil {
			return err
		}
		if !slices.Contains(n.toAttend(node), name) {
			continue // the last one has left it meanwhile: it is not made anew
		}
		network, err := n.ensureOne(ctx, node, name)
		if err != nil {
			return err
		}
		if err := n.attend(ctx, node, network); err != nil {
			return err
		}
	}
	return nil
}

// inUse are the names of the networks that replicas on the node are on.
func (n *networks) inUse(node string) []string {
	n.users.mu.Lock()
	defer n.users.mu.Unlock()
	var list []string
	for thing := range n.users.of {
		if name, ok := strings.CutPrefix(thing, node+"/"); ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// use records that a replica's sandbox is on its networks.
func (n *networks) use(r *replica) {
	for _, name := range n.orDefault(r.print.spec.Networks) {
		n.users.join(r.node+"/"+name, r)
	}
}

// letGo leaves the networks of a replica whose sandbox is gone, and removes
// those of our own making that nobody else is on.
func (n *networks) letGo(ctx context.Context, r *replica) error {
	release, err := n.turns.acquire(ctx, r.node)
	if err != nil {
		return fmt.Errorf("cannot look at the networks of node %s: %w", r.node, err)
	}
	defer release()
	for _, name := range n.orDefault(r.print.spec.Networks) {
		if !n.users.leave(r.node+"/"+name, r) || name == n.engine.config.Network {
			continue
		}
		if err := n.removeOwn(ctx, r.node, n.ownName(name)); err != nil {
			return err
		}
		if err := n.removeShared(ctx, r.node, name); err != nil {
			return err
		}
	}
	return nil
}

// abandon leaves the networks of a replica whose node does not answer.
func (n *networks) abandon(r *replica) {
	for _, name := range n.orDefault(r.print.spec.Networks) {
		n.users.leave(r.node+"/"+name, r)
	}
}

func (n *networks) removeOwn(ctx context.Context, node, name string) error {
	network, err := n.engine.nets.Find(ctx, node, name)
	if fleet.KindOf(err) == fleet.NotFound && err != nil {
		return nil // it was never ours
	}
	if err != nil {
		return fmt.Errorf("cannot look for network %s: %w", name, err)
	}
	if network.Labels[fleet.LabelFleet] != n.engine.config.FleetID {
		return nil
	}
	if err := n.dismiss(ctx, node, name); err != nil {
		return err
	}
	if err := n.engine.nets.Remove(ctx, node, name); err != nil && fleet.KindOf(err) != fleet.Conflict {
		return fmt.Errorf("cannot remove network %s: %w", name, err)
	}
	return nil
}

// addressOf returns the sandbox's address on the network that edges use: the first of the spec's.
func (n *networks) addressOf(r *replica, sandbox fleet.Container) (netip.Addr, error) {
	first := n.orDefault(r.print.spec.Networks)[0]
	for _, name := range []string{first, n.ownName(first), n.sharedName(first)} {
		if address, ok := sandbox.Addresses[name]; ok {
			return address, nil
		}
	}
	lost := fleet.Errorf(fleet.Conflict, "the sandbox of %s has no address on network %s", r.name(), first)
	lost.Field = fieldNetworks
	return netip.Addr{}, lost
}

// takeAddresses gives a sandbox a fixed address on each network that leaves room for one.
func (e *Engine) takeAddresses(ctx context.Context, list []fleet.Network, holder string) (map[string]netip.Addr, error) {
	taken := map[string]netip.Addr{}
	for _, network := range list {
		if !network.Subnet.IsValid() || !network.IPRange.IsValid() || network.IPRange == network.Subnet {
			continue // made by others without a range of its own for strangers
		}
		pool := fleet.AddressPool{Subnet: network.Subnet, Excluded: network.IPRange, Gateway: network.Gateway}
		lease, err := e.addresses.Take(ctx, network.Name, pool, holder)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot take an address on network %s: %w", network.Name, err),
				e.addresses.Release(context.WithoutCancel(ctx), holder))
		}
		taken[network.Name] = lease.Address
	}
	return taken, nil
}

// settleAddresses waits, before a sandbox whose address the engine chooses is
// started, until no edge sends anything to an address that has become free.
func (e *Engine) settleAddresses(ctx context.Context, r *replica) error {
	if r.fixedAddress {
		return nil
	}
	if _, err := e.router.Confirmed(ctx, e.Snapshot().Version); err != nil {
		return fmt.Errorf("cannot be sure that no edge still uses a free address: %w", err)
	}
	return nil
}
