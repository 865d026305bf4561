package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// Nodes that are in one swarm of Docker share their networks: overlays, which a
// container on any of them may be on. The ones of our own making have names
// apart from those of bridges, which an engine may have had before it joined.

const (
	driverOverlay = "overlay"
	// attendEvery is how long the edges of other nodes count as being on a
	// shared network before they are looked for again.
	attendEvery = reconcilePeriod
	// othersTimeout bounds what is done on other nodes on behalf of a replica, and
	// othersPatience how long that is waited for.
	othersTimeout  = 5 * time.Second
	othersPatience = time.Second
)

// allNodes takes the place of a node's name in the turns of what all nodes share.
const allNodes = ""

// sharedName is the name of a network of our own that several nodes share.
func (n *networks) sharedName(name string) string {
	return "z-" + n.engine.config.FleetID + "-shared-" + name
}

// shared returns the network that the node shares with others under a name,
// and makes it when there is another node to share it with; NotFound when it shares none.
func (n *networks) shared(ctx context.Context, node, name string) (fleet.Network, error) {
	alone := !n.engine.members.share()
	if !n.engine.members.inSwarm(node) {
		return fleet.Network{}, fleet.Errorf(fleet.NotFound, "node %s shares no network", node)
	}
	if why := n.engine.members.waits(node); why != "" && !alone {
		return fleet.Network{}, fleet.Errorf(fleet.Unavailable, "node %s %s", node, cannotShare(why)).About(fieldNetworks)
	}
	if err := n.removals.wait(ctx, name); err != nil {
		return fleet.Network{}, err
	}
	for _, candidate := range []string{name, n.sharedName(name)} {
		network, err := n.engine.nets.Find(ctx, node, candidate)
		if err == nil && network.Driver == driverOverlay || err != nil && fleet.KindOf(err) != fleet.NotFound {
			return network, err
		}
	}
	if alone {
		return fleet.Network{}, fleet.Errorf(fleet.NotFound, "node %s has nobody to share a network with", node)
	}
	done, err := n.turns.acquire(ctx, allNodes) // two nodes would make it twice
	if err != nil {
		return fleet.Network{}, err
	}
	defer done()
	network, err := n.engine.nets.Find(ctx, node, n.sharedName(name))
	if err == nil || fleet.KindOf(err) != fleet.NotFound {
		return network, err
	}
	return n.make(ctx, node, n.sharedName(name), driverOverlay)
}

// inSwarm says whether a node is in a swarm.
func (s *members) inSwarm(name string) bool {
	m, ok := s.get(name)
	return ok && m.look().Swarm != nil
}

// share says whether there are nodes that share networks: two or more in a swarm.
func (s *members) share() bool {
	count := 0
	for _, m := range s.list() {
		if m.look().Swarm != nil {
			count++
		}
	}
	return count > 1
}

// waits says why the networks that nodes share cannot be used on a node yet; empty = they can.
func (s *members) waits(name string) string {
	m, ok := s.get(name)
	if !ok {
		return ""
	}
	return m.waits()
}

// cannotShare is how a person is told of a node whose swarm does not work.
func cannotShare(why string) string {
	return "cannot use the network that nodes share yet: " + why
}

// learn takes what a node's engine says of itself, and tells when the networks
// that nodes share cannot be used there, or can again.
func (e *Engine) learn(m *member, info fleet.Node) (again bool) {
	before := m.waits()
	if !m.heard() {
		before = "" // nobody was told
	}
	m.told(info)
	switch after := m.waits(); {
	case before == "" && after != "":
		e.log.Warn("A node cannot use the network that nodes share", "node", m.name, "error", after)
		e.record(fleet.Event{Type: fleet.EventNode, NodeID: m.name, Message: fmt.Sprintf("Node %s %s", m.name, cannotShare(after))})
	case before != "" && after == "":
		e.record(fleet.Event{Type: fleet.EventNode, NodeID: m.name, Message: fmt.Sprintf("Node %s can use the network that nodes share again", m.name)})
		return true
	}
	return false
}

// askOfSwarm asks a node whose engine answers, beside whoever calls, whether it can
// use the networks that nodes share now. An engine tells nobody of that by itself.
func (e *Engine) askOfSwarm(ctx context.Context, m *member) {
	m.mu.Lock()
	begin := m.judge.state == fleet.NodeReady && !m.asking
	m.asking = m.asking || begin
	m.mu.Unlock()
	if !begin {
		return
	}
	e.spawn(func() {
		info, err := e.nodes.Info(ctx, m.name)
		m.mu.Lock()
		m.asking = false
		m.mu.Unlock()
		if err != nil { // when it is silent, its follower is told
			e.log.Debug("Cannot ask a node who it is", "node", m.name, "error", err)
			return
		}
		if e.learn(m, info) {
			e.sharesAgain(m)
		}
	})
}

// sharesAgain lets begin what has waited for a node's swarm.
func (e *Engine) sharesAgain(m *member) {
	for _, a := range e.actorsOn(m.name) {
		a.post(func() { a.nodeIsBack(m.name) })
	}
	e.placeLost()
}

// attendEverywhere brings the edges and spawners of all nodes onto a network
// that nodes share: those of the replica's own node surely, and those of others
// as far as their engines answer; what is missing there is made good when its
// node is looked at again.
func (n *networks) attendEverywhere(ctx context.Context, node string, network fleet.Network) error {
	if err := n.attend(ctx, node, network); err != nil || network.Driver != driverOverlay {
		return err
	}
	bounded, cancel := context.WithTimeout(n.engine.life, othersTimeout)
	var others sync.WaitGroup
	for _, other := range n.engine.nodeNames() {
		if other == node || !n.engine.members.inSwarm(other) || !n.engine.members.answers(other) || !n.attended.due(other+"/"+network.ID) {
			continue
		}
		others.Go(func() {
			if err := n.attend(bounded, other, network); err != nil {
				n.attended.forget(other + "/" + network.ID)
				n.engine.log.Warn("Cannot bring the edges of a node onto a network", "node", other, "network", network.Name, "error", err)
			}
		})
	}
	done := make(chan struct{})
	n.engine.group.Go(func() {
		defer cancel()
		others.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(othersPatience): // a frozen one holds up nobody; the work there goes on
	case <-ctx.Done():
	}
	return nil
}

// attended remembers when the edges of a node were last brought onto a network.
type attended struct {
	mu sync.Mutex
	at map[string]time.Time // by node and network
}

// due says whether it is time to look again, and takes it that this is done now.
func (a *attended) due(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.at[key]) < attendEvery {
		return false
	}
	if a.at == nil {
		a.at = map[string]time.Time{}
	}
	a.at[key] = time.Now()
	return true
}

func (a *attended) forget(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.at, key)
}

// toAttend are the names of the networks that the edges of a node are to be on:
// those of its own replicas, and where it shares networks those of any replica.
func (n *networks) toAttend(node string) []string {
	if !n.engine.members.inSwarm(node) {
		return n.inUse(node)
	}
	var list []string
	for _, other := range n.engine.nodeNames() {
		if n.engine.members.inSwarm(other) {
			list = append(list, n.inUse(other)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// removeShared removes a network of our own that nodes share, once no replica of any node is on it.
func (n *networks) removeShared(ctx context.Context, node, name string) error {
	if !n.engine.members.inSwarm(node) {
		return nil
	}
	end, ok := n.removals.begin(name, func() bool { return !slices.Contains(n.toAttend(node), name) })
	if !ok {
		return nil
	}
	defer end()
	network, err := n.engine.nets.Find(ctx, node, n.sharedName(name))
	if err != nil && fleet.KindOf(err) == fleet.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look for network %s: %w", name, err)
	}
	for _, other := range n.engine.nodeNames() {
		if !n.engine.members.answers(other) {
			continue
		}
		n.attended.forget(other + "/" + network.ID)
		err := n.engine.whileAnswers(ctx, other, func(ctx context.Context) error { return n.dismiss(ctx, other, network.Name) })
		if err != nil && n.engine.members.answers(other) {
			return err
		}
	}
	if err := n.engine.nets.Remove(ctx, node, network.Name); err != nil && fleet.KindOf(err) != fleet.Conflict {
		return fmt.Errorf("cannot remove network %s: %w", network.Name, err)
	}
	return nil
}

// removals are the shared networks that are being removed. A replica that is
// counted among the users of one is either seen by whoever would remove it, or
// waits until that is done and makes it anew.
type removals struct {
	mu sync.Mutex
	of map[string]chan struct{} // by the name that specs have; closed at the end of the removal
}

// begin says whether a network is to be removed now: not when it is in use, or
// somebody else is at it.
func (s *removals) begin(name string, unused func() bool) (end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[name] != nil || !unused() {
		return nil, false
	}
	if s.of == nil {
		s.of = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	s.of[name] = done
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.of, name)
		close(done)
	}, true
}

// wait returns when the network is not being removed (any more), or with ctx's error.
func (s *removals) wait(ctx context.Context, name string) error {
	s.mu.Lock()
	done := s.of[name]
	s.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot wait until network %s has been removed: %w", name, context.Cause(ctx))
	}
}

// dismiss takes the edges and spawners of a node off a network.
func (n *networks) dismiss(ctx context.Context, node, name string) error {
	attendants, err := n.engine.nets.Attendants(ctx, node)
	if err != nil {
		return fmt.Errorf("cannot look for edges on node %s: %w", node, err)
	}
	for _, a := range attendants {
		if err := n.engine.nets.Disconnect(ctx, node, name, a.ID); err != nil {
			return fmt.Errorf("cannot disconnect %s from network %s: %w", a.Name, name, err)
		}
	}
	return nil
}
