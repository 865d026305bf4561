package engine

import (
	"context"
	"fmt"
	"strings"

	"edgespawner/fleet"
)

// claimAll takes the names and addresses of what was found, and gives back
// addresses whose sandbox is not there. The nodes are right and the store, which
// may be an older one that was restored, gives way.
func (e *Engine) claimAll(ctx context.Context, found []fleet.Container) error {
	sandboxes := map[string]fleet.Container{} // by holder
	users := map[fleet.Lease]string{}         // holder of each address that is in use now
	for _, c := range found {
		e.names.claim(c.Node, c.Name)
		if c.Labels[fleet.LabelRole] != string(fleet.RoleSandbox) {
			continue
		}
		holder := c.Node + "/" + c.Name
		sandboxes[holder] = c
		e.claimPorts(ctx, c, holder)
		for network, address := range c.Addresses {
			users[fleet.Lease{Network: network, Address: address}] = holder
		}
	}
	held, err := e.releaseWrong(ctx, sandboxes, users)
	if err != nil {
		return err
	}
	for lease, holder := range users {
		if held[holder] {
			continue
		}
		lease.Holder = holder
		if err := e.addresses.Claim(ctx, lease); err != nil {
			e.log.Warn("Cannot claim the address of a sandbox that runs", "container", holder, "address", lease.Address, "error", err)
			e.record(fleet.Event{Type: fleet.EventWarning, Message: fmt.Sprintf("%s runs with an address that is not its own: %s", holder, err)})
		}
	}
	return nil
}

// claimPorts records the ports that a sandbox publishes for edges, for a database that does not know them.
func (e *Engine) claimPorts(ctx context.Context, sandbox fleet.Container, holder string) {
	for _, port := range sandbox.Ports {
		if !e.config.Ports.Holds(port.HostPort) {
			continue
		}
		if err := e.addresses.ClaimPort(ctx, sandbox.Node, port.HostPort, holder); err != nil {
			e.log.Warn("Cannot claim the port of a sandbox", "container", holder, "port", port.HostPort, "error", err)
		}
	}
}

// heardOf says whether it is known what is on a node: it was listed, or is no node any more.
func (e *Engine) heardOf(node string) bool {
	m, ok := e.members.get(node)
	if !ok {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}

// releaseWrong gives back the addresses of sandboxes that are not there, that run
// with another address, or whose address another one runs with. It returns who holds one rightly.
func (e *Engine) releaseWrong(ctx context.Context, sandboxes map[string]fleet.Container, users map[fleet.Lease]string) (held map[string]bool, err error) {
	leases, err := e.addresses.Holders(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses: %w", err)
	}
	wrong := map[string]bool{}
	for _, lease := range leases {
		sandbox, there := sandboxes[lease.Holder]
		actual, running := sandbox.Addresses[lease.Network]
		user := users[fleet.Lease{Network: lease.Network, Address: lease.Address}]
		if node, _, _ := strings.Cut(lease.Holder, "/"); !e.heardOf(node) {
			continue
		}
		if !there || running && actual != lease.Address || user != "" && user != lease.Holder {
			wrong[lease.Holder] = true
		}
	}
	held = map[string]bool{}
	for _, lease := range leases {
		held[lease.Holder] = !wrong[lease.Holder]
	}
	for holder := range wrong {
		if err := e.addresses.Release(ctx, holder); err != nil {
			return nil, fmt.Errorf("cannot release the address of %s: %w", holder, err)
		}
	}
	return held, nil
}
