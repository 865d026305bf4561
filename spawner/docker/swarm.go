package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"edgespawner/fleet"
)

// Where swarms listen, and what they take for networks that are not told a
// subnet: the default (10.0.0.0/8 from its start) is many a machine's own network.
const (
	swarmListen    = "0.0.0.0:2377"
	swarmPort      = "2377"
	swarmPool      = "10.208.0.0/12"
	swarmPoolBits  = 24
	joinTimeout    = 90 * time.Second // a manager that joins takes part in a vote
	fieldJoin      = "join_network"
	forceOnRemoval = true
)

// Swarm joins engines in Docker's swarm, for networks that reach over all of
// them and for nothing else: no service or stack of a swarm is made.
type Swarm struct{ pool *Pool }

// Swarm returns the view of the pool that joins engines.
func (p *Pool) Swarm() *Swarm { return &Swarm{p} }

// managerOf is a node that is a manager of n's swarm: n itself if it is one,
// else the first that answers. Nil when n is in no swarm, or none answers;
// Unavailable while n's own part in the swarm does not work.
func (p *Pool) managerOf(ctx context.Context, n *node) (*node, error) {
	own, err := n.client.Info(ctx)
	switch {
	case err != nil:
		return nil, err
	case !isMember(own.Swarm):
		return nil, nil
	case waitsFor(own.Swarm) != "": // that it does not see a network does not say that there is none
		return nil, fail(nil, fleet.Unavailable, "networks", "node %s cannot use a network of several nodes yet: %s", n.name, waitsFor(own.Swarm))
	case own.Swarm.ControlAvailable:
		return n, nil
	}
	peers := p.peers(n)
	found := make(chan *node, len(peers))
	bounded, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	for _, name := range peers {
		go func() { found <- p.managerAmong(bounded, name, own.Swarm.RemoteManagers) }()
	}
	for range peers {
		if peer := <-found; peer != nil {
			return peer, nil
		}
	}
	return nil, ctx.Err()
}

// managerAmong is the node of that name if it is one of those managers and answers; else nil.
func (p *Pool) managerAmong(ctx context.Context, name string, managers []swarm.Peer) *node {
	n, err := p.engine(ctx, name)
	if err != nil {
		return nil
	}
	info, err := n.client.Info(ctx)
	same := func(m swarm.Peer) bool { return m.NodeID == info.Swarm.NodeID }
	if err != nil || !info.Swarm.ControlAvailable || !slices.ContainsFunc(managers, same) {
		return nil
	}
	return n
}

// isMember says whether an engine is in a swarm, or on its way in.
func isMember(s swarm.Info) bool {
	return s.LocalNodeState != "" && s.LocalNodeState != swarm.LocalNodeStateInactive
}

// waitsFor says what keeps an engine from using the networks of its swarm; empty
// = nothing does. One that was started anew answers before it has found a
// manager, and says meanwhile that there are no such networks.
func waitsFor(s swarm.Info) string {
	why := ""
	switch s.LocalNodeState {
	case swarm.LocalNodeStateActive: // a manager of a swarm without a leader has an error
		if s.Error == "" {
			return ""
		}
		why = "its swarm does not work"
	case swarm.LocalNodeStatePending:
		why = "it has not found its swarm's managers"
	case swarm.LocalNodeStateLocked:
		why = "its swarm is locked (docker swarm unlock)"
	default:
		why = "it is in its swarm no more"
	}
	if s.Error != "" {
		why += ": " + engineMessage(errors.New(s.Error))
	}
	return why
}

// Init begins a swarm with the node as its only manager.
func (s *Swarm) Init(ctx context.Context, nodeName, address string) error {
	err := s.pool.askWithin(ctx, joinTimeout, nodeName, "begin a swarm", func(ctx context.Context, n *node) error {
		_, err := n.client.SwarmInit(ctx, swarm.InitRequest{
			ListenAddr: swarmListen, AdvertiseAddr: address, DefaultAddrPool: []string{swarmPool}, SubnetSize: swarmPoolBits,
		})
		return err
	})
	return explainSwarm(err)
}

// Join takes the node into the swarm of a manager, as a worker.
func (s *Swarm) Join(ctx context.Context, nodeName, address, manager string) error {
	var token string
	var remotes []string
	err := s.pool.ask(ctx, manager, "look at the swarm", func(ctx context.Context, n *node) error {
		found, err := n.client.SwarmInspect(ctx)
		if err != nil {
			return err
		}
		token = found.JoinTokens.Worker
		info, err := n.client.Info(ctx)
		if err != nil {
			return err
		}
		for _, peer := range info.Swarm.RemoteManagers {
			remotes = append(remotes, peer.Addr)
		}
		if len(remotes) == 0 {
			remotes = append(remotes, net.JoinHostPort(info.Swarm.NodeAddr, swarmPort))
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = s.pool.askWithin(ctx, joinTimeout, nodeName, "join the swarm", func(ctx context.Context, n *node) error {
		return n.client.SwarmJoin(ctx, swarm.JoinRequest{
			ListenAddr: swarmListen, AdvertiseAddr: address, RemoteAddrs: remotes, JoinToken: token,
		})
	})
	return explainSwarm(err)
}

// Leave takes the node out of its swarm, with all that it knew of it. Nil when it is in none.
func (s *Swarm) Leave(ctx context.Context, nodeName string) error {
	err := s.pool.ask(ctx, nodeName, "leave the swarm", func(ctx context.Context, n *node) error {
		return n.client.SwarmLeave(ctx, forceOnRemoval)
	})
	if err != nil && strings.Contains(err.Error(), "not part of a swarm") {
		return nil
	}
	return err
}

// Members lists the engines of a manager's swarm.
func (s *Swarm) Members(ctx context.Context, manager string) ([]fleet.SwarmMember, error) {
	var list []fleet.SwarmMember
	err := s.pool.askWithin(ctx, infoTimeout, manager, "list the swarm", func(ctx context.Context, n *node) error {
		found, err := n.client.NodeList(ctx, swarm.NodeListOptions{})
		for _, member := range found {
			list = append(list, memberOf(member))
		}
		return err
	})
	return list, err
}

func memberOf(found swarm.Node) fleet.SwarmMember {
	member := fleet.SwarmMember{
		ID: found.ID, Manager: found.Spec.Role == swarm.NodeRoleManager,
		Up: found.Status.State == swarm.NodeStateReady, Address: found.Status.Addr,
	}
	status := found.ManagerStatus
	reachable := status != nil && status.Reachability == swarm.ReachabilityReachable
	member.Settled = member.Manager && reachable || !member.Manager && status == nil
	if status != nil {
		member.Leader = status.Leader
		member.Up = member.Up && reachable
	}
	return member
}

// SetManager makes a member a manager or a worker; nil when it is so already.
func (s *Swarm) SetManager(ctx context.Context, manager, id string, wanted bool) error {
	role, verb := swarm.NodeRoleWorker, "demote"
	if wanted {
		role, verb = swarm.NodeRoleManager, "promote"
	}
	return s.pool.ask(ctx, manager, verb+" a member of the swarm", func(ctx context.Context, n *node) error {
		found, _, err := n.client.NodeInspectWithRaw(ctx, id)
		if err != nil || found.Spec.Role == role {
			return err
		}
		found.Spec.Role = role
		return n.client.NodeUpdate(ctx, id, found.Version, found.Spec)
	})
}

// Forget takes a member that has left, or is gone for ever, off the swarm's list. Nil when it is not there.
func (s *Swarm) Forget(ctx context.Context, manager, id string) error {
	return s.pool.ask(ctx, manager, "forget a member of the swarm", func(ctx context.Context, n *node) error {
		err := n.client.NodeRemove(ctx, id, swarm.NodeRemoveOptions{Force: forceOnRemoval})
		if isNotFound(err) {
			return nil
		}
		return err
	})
}

// explainSwarm says what to do about an engine that cannot join.
func explainSwarm(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	why := ""
	switch {
	case strings.Contains(text, "live-restore"):
		why = "Docker does not allow live-restore together with swarm: take it out of the engine's configuration"
	case strings.Contains(text, "already part of a swarm"):
		why = "the engine is in another swarm: let it leave that first (docker swarm leave)"
	case strings.Contains(text, "Timeout was reached"), strings.Contains(text, "connection refused"), strings.Contains(text, "rpc error"):
		why = "the engines do not reach each other at their addresses: ports 2377 and 7946 (TCP), 7946 and 4789 (UDP) must be open between them"
	case strings.Contains(text, "must specify a listening address"), strings.Contains(text, "could not choose an IP address"), strings.Contains(text, "no such device"), strings.Contains(text, "advertise address"):
		why = "the address is not one of the machine's own"
	default:
		return err
	}
	return fail(err, fleet.Conflict, fieldJoin, "%s: %s", why, engineText(err))
}

// engineText is the message of an error that was translated.
func engineText(err error) string {
	if seen := seenBy(err); seen != nil {
		return seen.Message
	}
	return fmt.Sprint(err)
}
