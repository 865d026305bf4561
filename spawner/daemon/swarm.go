package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// swarmer joins engines in Docker's swarm.
type swarmer interface {
	// Init begins a swarm with the node as its only manager.
	Init(ctx context.Context, node, address string) error
	// Join takes the node into a manager's swarm, as a worker.
	Join(ctx context.Context, node, address, manager string) error
	// Leave takes the node out of its swarm; nil when it is in none.
	Leave(ctx context.Context, node string) error
	// Members lists the engines of a manager's swarm.
	Members(ctx context.Context, manager string) ([]fleet.SwarmMember, error)
	// SetManager makes a member a manager or a worker.
	SetManager(ctx context.Context, manager, id string, wanted bool) error
	// Forget takes a member off the list; nil when it is not there.
	Forget(ctx context.Context, manager, id string) error
}

const (
	swarmPeriod = 30 * time.Second // between two looks at the managers
	// swarmPatience is how long a manager is away before another takes its place.
	swarmPatience = time.Minute
	// settlePatience bounds how long a member takes to become a manager or a worker.
	settlePatience = 30 * time.Second
	settlePause    = 250 * time.Millisecond
	forgetPause    = 500 * time.Millisecond
	forgetTries    = 20 // a manager that was made a worker takes a moment to be one
)

// swarmKeeper keeps the swarm that carries the fleet's network over its nodes:
// the spawner's own node begins it, nodes join it, and of its managers so many
// are kept that one or two may be lost.
type swarmKeeper struct {
	swarm  swarmer
	info   func(ctx context.Context, node string) (fleet.Node, error)
	own    string // the spawner's own node
	attend attendance
	nodes  func() []fleet.StoredNode // those that have joined, by name
	record func(fleet.Event)
	log    *slog.Logger

	mu   sync.Mutex // one change at a time
	away map[string]time.Time
}

// join takes a node into the swarm, which the spawner's own node begins when
// there is none; begun says that it has done so now.
func (k *swarmKeeper) join(ctx context.Context, own, node fleet.StoredNode) (begun bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.attend.check(ctx, own.Name); err != nil {
		return false, err
	}
	told, err := k.info(ctx, own.Name)
	if err != nil {
		return false, err
	}
	if told.Swarm == nil {
		if own.Address == "" {
			return false, fleet.InvalidField("join_network", "the spawner's own node has no address by which the others reach it: start the spawner with --node-address")
		}
		if err := k.swarm.Init(ctx, own.Name, own.Address); err != nil {
			return false, err
		}
		begun = true
		k.log.Info("Began a swarm", "node", own.Name, "address", own.Address)
	}
	manager, err := k.manager(ctx, "")
	if err != nil {
		return begun, err
	}
	if there, err := k.member(ctx, node.Name, manager); there || err != nil {
		return begun, err
	}
	if err := k.swarm.Join(ctx, node.Name, node.Address, manager); err != nil {
		return begun, err
	}
	k.log.Info("Joined the swarm", "node", node.Name, "address", node.Address)
	return begun, nil
}

// member says whether a node is in the swarm already; Conflict when it is in another.
func (k *swarmKeeper) member(ctx context.Context, node, manager string) (bool, error) {
	told, err := k.info(ctx, node)
	if err != nil || told.Swarm == nil {
		return false, err
	}
	members, err := k.swarm.Members(ctx, manager)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(members, func(m fleet.SwarmMember) bool { return m.ID == told.Swarm.ID }) {
		return true, nil
	}
	return false, fleet.Errorf(fleet.Conflict, "the engine is in another swarm: let it leave that first (docker swarm leave)").About("join_network")
}

// manager is a node that can be asked about the swarm: the spawner's own if it
// can, else another; never the one excepted.
func (k *swarmKeeper) manager(ctx context.Context, except string) (string, error) {
	candidates := []string{k.own}
	for _, node := range k.nodes() {
		if node.Name != k.own {
			candidates = append(candidates, node.Name)
		}
	}
	for _, name := range candidates {
		if name == except {
			continue
		}
		if told, err := k.info(ctx, name); err == nil && told.Swarm != nil && told.Swarm.Manager && told.Swarm.Waits == "" {
			return name, nil
		}
	}
	return "", fleet.Errorf(fleet.Unavailable, "no manager of the swarm answers")
}

// leave takes a node out of the swarm. What cannot be done on a node that does
// not answer is said and left.
func (k *swarmKeeper) leave(ctx context.Context, node fleet.StoredNode) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	manager, err := k.manager(ctx, node.Name)
	if err != nil {
		return err
	}
	id, err := k.idOf(ctx, node, manager)
	if err != nil {
		return err
	}
	if err := k.balanceLocked(ctx, node.Name); err != nil {
		k.log.Warn("Cannot keep the swarm's managers", "error", err)
	}
	if id != "" {
		if err := k.change(ctx, manager, id, false); err != nil {
			return err
		}
	}
	if err := k.swarm.Leave(ctx, node.Name); err != nil {
		k.log.Warn("A node could not be told to leave the swarm", "node", node.Name, "error", err)
		k.record(fleet.Event{Type: fleet.EventWarning, NodeID: node.Name, Message: fmt.Sprintf("Node %s does not know yet that it has left the swarm: run 'docker swarm leave --force' there", node.Name)})
	}
	if id == "" {
		return nil
	}
	return k.forget(ctx, manager, id)
}

// forget tries until the member is no manager any more.
func (k *swarmKeeper) forget(ctx context.Context, manager, id string) (err error) {
	for range forgetTries {
		if err = k.swarm.Forget(ctx, manager, id); err == nil {
			return nil
		}
		select {
		case <-time.After(forgetPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// idOf is a node's id in the swarm, which a silent one is known for by its address; empty = it is in none.
func (k *swarmKeeper) idOf(ctx context.Context, node fleet.StoredNode, manager string) (string, error) {
	if told, err := k.info(ctx, node.Name); err == nil {
		if told.Swarm == nil {
			return "", nil
		}
		if told.Swarm.ID != "" {
			return told.Swarm.ID, nil
		}
	}
	members, err := k.swarm.Members(ctx, manager)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.Address == node.Address {
			return m.ID, nil
		}
	}
	return "", nil
}

// run looks at the managers from time to time.
func (k *swarmKeeper) run(ctx context.Context) error {
	tick := time.NewTicker(swarmPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if len(k.nodes()) == 0 {
			continue
		}
		if err := k.balance(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("Cannot keep the swarm's managers", "error", err)
		}
	}
}
