package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"edgespawner/fleet"
)

// attendance says whether this process is where a network over all nodes reaches
// it: in the network of a container that is brought onto the networks of replicas.
type attendance struct {
	attendants func(ctx context.Context, node string) ([]fleet.Container, error)
	addresses  func() ([]net.Addr, error) // of this process
}

// check returns Conflict with field "join_network" for a process that such a
// network would not reach, so that replicas on other nodes could not be reached.
func (a attendance) check(ctx context.Context, own string) error {
	list, err := a.attendants(ctx, own)
	if err != nil {
		return err
	}
	mine, err := a.addresses()
	if err != nil {
		return fmt.Errorf("cannot list the addresses of this process: %w", err)
	}
	for _, c := range list {
		for _, address := range c.Addresses {
			if among(mine, address) {
				return nil
			}
		}
	}
	return fleet.Errorf(fleet.Conflict, "the spawner runs outside of a container of node %s, where the network that nodes share does not reach: run it in one with the label %s=%s and a network of its own, or add the node without joining it", own, fleet.LabelRole, fleet.RoleSpawner).About("join_network")
}

// among says whether an address is one of those of this process.
func among(mine []net.Addr, address netip.Addr) bool {
	for _, m := range mine {
		if prefix, err := netip.ParsePrefix(m.String()); err == nil && prefix.Addr().Unmap() == address.Unmap() {
			return true
		}
	}
	return false
}
