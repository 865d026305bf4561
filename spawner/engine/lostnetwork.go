package engine

import (
	"context"
	"fmt"

	"edgespawner/fleet"
)

// notHeard notes that the app was not heard of at its address although it ran.
func (r *replica) notHeard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = true
}

// unheard says whether that was so, once.
func (r *replica) unheard() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.silent
	r.silent = false
	return was
}

// leaveLostNetwork takes away, for an app that has to be started again, a sandbox
// that somebody took off its network: nobody would reach an app there, and it
// says nothing of that itself.
func (r *replica) leaveLostNetwork(ctx context.Context) error {
	v := r.look()
	if v.sandbox.id == "" || !v.address.IsValid() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := r.engine.containers.Inspect(ctx, r.node, v.sandbox.id)
	if err != nil || c.Status != fleet.ContainerRunning {
		return nil // its start finds out
	}
	address, err := r.engine.networks.addressOf(r, c)
	if err == nil && (address == v.address || !r.fixedAddress) {
		return nil
	}
	r.engine.record(fleet.Event{Type: fleet.EventDrift, Service: r.service, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("the sandbox of %s was taken off its network; both containers are made anew", r.name())})
	if err := r.removeContainers(ctx); err != nil {
		return err
	}
	return r.observe(ctx)
}
