package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgespawner/fleet"
)

// managersFor is how many managers a swarm of so many nodes keeps: 3 bear the
// loss of one, 5 of two. With fewer than 3 nodes a second one would only double
// the ways to lose the majority.
func managersFor(nodes int) int {
	switch {
	case nodes >= 7:
		return 5
	case nodes >= 3:
		return 3
	default:
		return 1
	}
}

// candidate is one of our nodes in the swarm.
type candidate struct {
	fleet.SwarmMember
	name string
	own  bool // of the spawner itself, which stays a manager if it can
	gone bool // away for longer than swarmPatience
}

// chooseManagers says who is to become a manager and who a worker, so that so
// many are kept as the nodes suffice for. Managers that are gone are replaced,
// never merely given up.
func chooseManagers(nodes []candidate) (promote, demote []candidate) {
	want := managersFor(len(nodes))
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(x, y candidate) int { return cmp.Or(first(x.own, y.own), cmp.Compare(x.name, y.name)) })
	var serving, gone, extra []candidate
	for _, n := range nodes {
		switch {
		case n.Manager && n.gone:
			gone = append(gone, n)
		case n.Manager:
			serving = append(serving, n)
		case n.Up:
			extra = append(extra, n)
		}
	}
	for len(serving)+len(promote) < want && len(extra) > 0 {
		promote, extra = append(promote, extra[0]), extra[1:]
	}
	if len(serving)+len(promote) >= want {
		demote = append(demote, gone...)
	}
	slices.SortStableFunc(serving, func(x, y candidate) int {
		return cmp.Or(first(x.own, y.own), first(x.Leader, y.Leader), first(x.Up, y.Up))
	})
	if len(serving) > want {
		demote = append(demote, serving[want:]...)
	}
	return promote, demote
}

// first orders what is so before what is not.
func first(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	default:
		return 1
	}
}

// balance keeps as many managers as the nodes suffice for.
func (k *swarmKeeper) balance(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.balanceLocked(ctx, "")
}

// balanceLocked is balance as if the node named did not exist; the lock is held.
func (k *swarmKeeper) balanceLocked(ctx context.Context, without string) error {
	nodes := slices.DeleteFunc(k.nodes(), func(n fleet.StoredNode) bool { return n.Name == without })
	if !slices.ContainsFunc(nodes, func(n fleet.StoredNode) bool { return n.Name == k.own }) {
		return nil // somebody else has begun this swarm, and looks after its managers
	}
	manager, err := k.manager(ctx, without)
	if err != nil {
		return err
	}
	members, err := k.swarm.Members(ctx, manager)
	if err != nil {
		return err
	}
	promote, demote := chooseManagers(k.candidates(ctx, nodes, members))
	for _, c := range promote {
		if err := k.setManager(ctx, manager, c, true); err != nil {
			return err
		}
	}
	for _, c := range demote {
		if err := k.setManager(ctx, manager, c, false); err != nil {
			return err
		}
	}
	return nil
}

// setManager changes one member and waits until it is changed: two at a time may
// cost a swarm its majority, and a member that is made a manager its place.
func (k *swarmKeeper) setManager(ctx context.Context, manager string, c candidate, wanted bool) error {
	if err := k.change(ctx, manager, c.ID, wanted); err != nil {
		return err
	}
	what := "is a worker of the swarm now"
	if wanted {
		what = "is a manager of the swarm now"
	}
	k.log.Info("Changed a member of the swarm", "node", c.name, "manager", wanted)
	k.record(fleet.Event{Type: fleet.EventNode, NodeID: c.name, Message: fmt.Sprintf("Node %s %s", c.name, what)})
	return nil
}

// change makes a member a manager or a worker, and waits until it is one.
func (k *swarmKeeper) change(ctx context.Context, manager, id string, wanted bool) error {
	if err := k.swarm.SetManager(ctx, manager, id, wanted); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for {
		members, err := k.swarm.Members(ctx, manager)
		if err == nil && !slices.ContainsFunc(members, func(m fleet.SwarmMember) bool { return m.ID == id && !(m.Settled && m.Manager == wanted) }) {
			return nil
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return errors.Join(err, fleet.Errorf(fleet.Unavailable, "a member of the swarm is not what it was told to be after %s", settlePatience))
		}
	}
}

// candidates are our nodes among the members; those whose engine does not answer are known by their address.
func (k *swarmKeeper) candidates(ctx context.Context, nodes []fleet.StoredNode, members []fleet.SwarmMember) []candidate {
	now := time.Now()
	away := map[string]time.Time{}
	var list []candidate
	for _, node := range nodes {
		id := ""
		if told, err := k.info(ctx, node.Name); err == nil && told.Swarm != nil {
			id = told.Swarm.ID
		}
		at := slices.IndexFunc(members, func(m fleet.SwarmMember) bool {
			return id != "" && m.ID == id || id == "" && m.Address == node.Address
		})
		if at < 0 {
			continue
		}
		c := candidate{SwarmMember: members[at], name: node.Name, own: node.Name == k.own}
		if !c.Up {
			since, before := k.away[c.ID]
			if !before {
				since = now
			}
			away[c.ID] = since
			c.gone = now.Sub(since) >= swarmPatience
		}
		list = append(list, c)
	}
	k.away = away
	return list
}
