package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"edgespawner/fleet"
)

// fieldHostPort is the field of an error of the containers: something else has
// taken a port that a sandbox publishes.
const fieldHostPort = "host_port"

// publishes says whether the replica's sandbox holds the service's host ports.
func (r *replica) publishes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publish && !r.unpublished
}

// publishesOn says whether one of the replicas is to hold the service's host ports on a node.
func publishesOn(node string, replicas []*replica) bool {
	return slices.ContainsFunc(replicas, func(r *replica) bool { return r.node == node && r.publish })
}

// goOnUnpublished lets a wake go on without host ports that something else took
// while the replica slept deep, where the edge suffices to reach the service.
// False: err is about something else, or has to be told.
func (r *replica) goOnUnpublished(err error) bool {
	var e *fleet.Error
	if !errors.As(err, &e) || e.Field != fieldHostPort || r.print.spec.Route == nil || !r.publishes() {
		return false
	}
	r.mu.Lock()
	r.unpublished = true
	r.mu.Unlock()
	r.engine.record(fleet.Event{Type: fleet.EventWarning, Service: r.service, Container: r.name(), NodeID: r.node,
		Message: fmt.Sprintf("%s is woken without its host ports: %s", r.name(), e.Message)})
	return true
}

// publishAgain takes away what a wake made without host ports, now that it
// sleeps deep: the next wake makes it anew, with them.
func (r *replica) publishAgain(ctx context.Context) error {
	r.mu.Lock()
	unpublished := r.unpublished
	r.unpublished = false
	r.mu.Unlock()
	if !unpublished {
		return nil
	}
	if err := r.removeContainers(ctx); err != nil {
		return err
	}
	return r.observe(ctx)
}

// removeContainers takes both containers away; observe finds that out. A sandbox
// that is shared goes, too: no app can run in it any more, and the other replica,
// which is down, finds that out when it is to start.
func (r *replica) removeContainers(ctx context.Context) error {
	v := r.look()
	for _, id := range []string{v.app.id, v.sandbox.id} {
		if id == "" {
			continue
		}
		if err := r.engine.containers.Remove(ctx, r.node, id); err != nil {
			return fmt.Errorf("cannot remove a container of %s: %w", r.name(), err)
		}
	}
	return nil
}
