package daemon

import (
	"context"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// leaveTimeout bounds what is left to do for a node that is followed no more.
const leaveTimeout = 3 * time.Minute

// RemoveNode lets a node go: Conflict while replicas are there, unless force.
// Its engine leaves the swarm if the spawner has joined it there; nothing else
// on it is touched.
func (n *nodes) RemoveNode(ctx context.Context, name string, force bool, by string) error {
	done, err := n.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	node, err := n.get(name)
	if err != nil {
		return err
	}
	if name == n.own {
		return fleet.Errorf(fleet.Conflict, "%s is the spawner's own node, which --docker-host names: drain it to keep replicas off it", name)
	}
	if err := n.follow.RemoveNode(ctx, name, force); err != nil {
		return err
	}
	// Nobody follows it any more: it goes, also if who asked for that has left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if node.Joined {
		if err := n.swarm.leave(ctx, node); err != nil {
			n.log.Warn("Cannot take a node out of the swarm", "node", name, "error", err)
			n.record(fleet.Event{Type: fleet.EventWarning, NodeID: name, Message: fmt.Sprintf("node %s could not be taken out of the swarm: %s", name, err)})
		}
	}
	if err := n.forget(ctx, name); err != nil {
		return err
	}
	n.record(fleet.Event{Type: fleet.EventNode, NodeID: name, Message: fmt.Sprintf("Node %s was removed by %s", name, by)})
	n.log.Info("Removed a node", "node", name, "force", force, "by", by)
	return nil
}

// turn waits until no other node comes, changes or goes, which takes as long as a
// drain where one is let go by force; an error is ctx's.
func (n *nodes) turn(ctx context.Context) (done func(), err error) {
	select {
	case n.changing <- struct{}{}:
		return func() { <-n.changing }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// forget takes a node out of the store and of the pool.
func (n *nodes) forget(ctx context.Context, name string) error {
	if err := n.store.Remove(ctx, name); err != nil {
		return err
	}
	n.leases.release(name)
	n.pool.Remove(name)
	n.gone(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, name)
	delete(n.notes, name)
	return nil
}

// DrainNode lets nothing new on a node and moves away what is there.
func (n *nodes) DrainNode(ctx context.Context, name, by string) error {
	return n.setDraining(ctx, name, true, "is drained by "+by, n.follow.DrainNode)
}

// ResumeNode lets replicas on a node again.
func (n *nodes) ResumeNode(ctx context.Context, name, by string) error {
	return n.setDraining(ctx, name, false, "takes replicas again, by "+by, n.follow.ResumeNode)
}

func (n *nodes) setDraining(ctx context.Context, name string, draining bool, what string, tell func(context.Context, string) error) error {
	done, err := n.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	node, err := n.get(name)
	if err != nil {
		return err
	}
	changed := node.Draining != draining
	if node.Draining = draining; changed {
		if err := n.put(ctx, node); err != nil {
			return err
		}
	}
	if err := tell(ctx, name); err != nil {
		return err
	}
	if changed {
		n.record(fleet.Event{Type: fleet.EventNode, NodeID: name, Message: fmt.Sprintf("Node %s %s", name, what)})
		n.log.Info("Changed a node", "node", name, "draining", draining)
	}
	return nil
}
