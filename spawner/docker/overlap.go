package docker

import (
	"context"
	"net/netip"

	"github.com/docker/docker/api/types/network"

	"edgespawner/fleet"
)

// refuseOverlap keeps a network of several nodes off the subnets that are in use
// on any of them: those of the networks that their engines know, and their own
// addresses. Of another network of the same kind a swarm says so only in its
// log, while the network never begins to work; of a bridge nobody says anything,
// and who is on both reaches one of them only. A node that does not answer, other
// than the manager, cannot be asked.
func (p *Pool) refuseOverlap(ctx context.Context, manager *node, subnet netip.Prefix) error {
	if err := overlapOn(ctx, manager, subnet); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	peers := p.peers(manager)
	answers := make(chan error, len(peers))
	for _, name := range peers {
		go func() { answers <- p.overlapOnPeer(bounded, name, subnet) }()
	}
	for range peers {
		if err := <-answers; err != nil { // the others need not be waited for
			return err
		}
	}
	return nil
}

// overlapOnPeer is overlapOn for a node that may be silent.
func (p *Pool) overlapOnPeer(ctx context.Context, name string, subnet netip.Prefix) error {
	n, err := p.engine(ctx, name)
	if err == nil {
		err = overlapOn(ctx, n, subnet)
	}
	if seen := seenBy(err); seen != nil && seen.Kind == fleet.Conflict {
		return err
	}
	if err != nil && ctx.Err() == nil {
		p.log.Debug("Cannot ask a node for its networks", "node", name, "error", err)
	}
	return nil
}

// overlapOn is Conflict when something on the node has a part of the subnet.
func overlapOn(ctx context.Context, n *node, subnet netip.Prefix) error {
	list, err := n.client.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return err
	}
	for _, other := range list {
		for _, theirs := range subnetsOf(other) {
			if theirs.Overlaps(subnet) {
				return fail(nil, fleet.Conflict, "subnet", "%s overlaps %s of network %s of node %s", subnet, theirs, other.Name, n.name)
			}
		}
	}
	own, err := n.client.Info(ctx)
	if err != nil {
		return err
	}
	if address, err := netip.ParseAddr(own.Swarm.NodeAddr); err == nil && subnet.Contains(address) {
		return fail(nil, fleet.Conflict, "subnet", "%s holds %s, the address of node %s", subnet, address, n.name)
	}
	return nil
}

// subnetsOf are all subnets of a network that can be read.
func subnetsOf(of network.Summary) []netip.Prefix {
	var list []netip.Prefix
	for _, config := range of.IPAM.Config {
		if subnet, err := netip.ParsePrefix(config.Subnet); err == nil {
			list = append(list, subnet.Masked())
		}
	}
	return list
}
