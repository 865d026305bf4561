package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"edgespawner/fleet"
)

// AddNode makes an engine a node. What is wrong with it is an *Error that names
// the field, and nothing has changed then.
func (n *nodes) AddNode(ctx context.Context, spec fleet.NodeSpec, by string) (fleet.Node, error) {
	if err := spec.Validate(); err != nil {
		return fleet.Node{}, err
	}
	done, err := n.turn(ctx)
	if err != nil {
		return fleet.Node{}, err
	}
	defer done()
	before, exists := n.before(spec.Name)
	if exists && (!spec.Update || spec.Name == n.own) {
		return fleet.Node{}, nameTaken(spec.Name, n.own)
	}
	if err := n.keepCredentials(&spec, before); err != nil {
		return fleet.Node{}, err
	}
	if err := refusePlainTCP(spec); err != nil {
		return fleet.Node{}, err
	}
	node := fleet.StoredNode{
		Node: fleet.Node{
			Name: spec.Name, Endpoint: spec.Endpoint, Address: cmp.Or(spec.Address, spec.Host()), Labels: spec.Labels, Draining: before.Draining,
		},
		AllowPlainTCP: spec.AllowPlainTCP, Joined: before.Joined,
	}
	told, err := n.pool.Try(ctx, node.Node, dialOptions(spec.Credentials())...)
	if err != nil {
		return fleet.Node{}, err
	}
	if err := n.refuseEngine(ctx, told, before); err != nil {
		return fleet.Node{}, err
	}
	node.EngineID = told.EngineID
	if node.Sealed, err = n.sealed(spec); err != nil {
		return fleet.Node{}, err
	}
	if err := n.admit(ctx, node, before, spec); err != nil {
		return fleet.Node{}, err
	}
	verb := "joined"
	if exists {
		verb = "was updated"
	}
	n.record(fleet.Event{Type: fleet.EventNode, NodeID: node.Name, Message: fmt.Sprintf("Node %s %s by %s: %s, engine %s", node.Name, verb, by, node.Endpoint, told.Version)})
	n.log.Info("Added a node", "node", node.Name, "endpoint", node.Endpoint, "version", told.Version, "by", by)
	return n.ask(ctx, node.Name), nil
}

// keepCredentials lets an update of the same endpoint that gives none have those that the node has.
func (n *nodes) keepCredentials(spec *fleet.NodeSpec, before fleet.StoredNode) error {
	if spec.TLS != nil || spec.SSH != nil || spec.Endpoint != before.Endpoint {
		return nil
	}
	credentials, err := n.credentials(before)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, "%s", err)
	}
	spec.TLS, spec.SSH = credentials.TLS, credentials.SSH
	spec.AllowPlainTCP = spec.AllowPlainTCP || before.AllowPlainTCP
	return nil
}

// admit stores a node, joins it in the swarm where that is wanted, and lets the
// engine know it; on an error all is as before.
func (n *nodes) admit(ctx context.Context, node, before fleet.StoredNode, spec fleet.NodeSpec) error {
	err := n.take(ctx, node, before, spec.Credentials())
	if err == nil && before.Name == "" {
		err = n.leases.take(ctx, node.Name)
	}
	if err == nil && spec.JoinNetwork && !before.Joined {
		if err = n.joinNetwork(ctx, node); err == nil {
			node.Joined = true
			err = n.put(ctx, node)
		}
	}
	if err == nil && before.Name == "" {
		err = n.follow.AddNode(ctx, node.Unheard())
	} else if err == nil {
		err = n.follow.UpdateNode(ctx, n.ask(ctx, node.Name))
	}
	if err != nil {
		return errors.Join(err, n.takeBack(context.WithoutCancel(ctx), node, before))
	}
	if node.Joined && !before.Joined {
		n.settleNetwork(ctx)
	}
	return nil
}

// take makes store and pool know a node. One that is reached as before keeps its
// connections, and what comes over them.
func (n *nodes) take(ctx context.Context, node, before fleet.StoredNode, credentials fleet.NodeCredentials) error {
	same := n.reachedAs(before, node, credentials)
	if err := n.put(ctx, node); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.notes, node.Name)
	n.mu.Unlock()
	if same {
		return nil
	}
	return n.pool.Add(node.Node, dialOptions(credentials)...)
}

// reachedAs says whether a node that is known is reached just as it was.
func (n *nodes) reachedAs(before, node fleet.StoredNode, credentials fleet.NodeCredentials) bool {
	n.mu.RLock()
	_, unreached := n.notes[before.Name]
	n.mu.RUnlock()
	if before.Name == "" || unreached || before.Endpoint != node.Endpoint || before.AllowPlainTCP != node.AllowPlainTCP {
		return false
	}
	had, err := n.credentials(before)
	return err == nil && reflect.DeepEqual(had, credentials)
}

// takeBack makes all be as before a node was taken.
func (n *nodes) takeBack(ctx context.Context, node, before fleet.StoredNode) error {
	if node.Joined && !before.Joined {
		if err := n.swarm.leave(ctx, node); err != nil {
			n.log.Warn("Cannot take a node out of the swarm again", "node", node.Name, "error", err)
		}
	}
	if before.Name == "" {
		return n.forget(ctx, node.Name)
	}
	return errors.Join(n.put(ctx, before), n.connect(before))
}

// joinNetwork joins a node in the swarm; the spawner's own node, if it began it, counts as joined too.
func (n *nodes) joinNetwork(ctx context.Context, node fleet.StoredNode) error {
	own, err := n.get(n.own)
	if err != nil {
		return err
	}
	begun, err := n.swarm.join(ctx, own, node)
	if begun {
		own.Joined = true
		err = errors.Join(err, n.put(ctx, own), n.follow.UpdateNode(ctx, n.ask(ctx, own.Name)))
	}
	return err
}

// settleNetwork makes as many managers as the nodes suffice for now, and says
// when that is not enough to bear a loss.
func (n *nodes) settleNetwork(ctx context.Context) {
	if err := n.swarm.balance(ctx); err != nil {
		n.log.Warn("Cannot keep the swarm's managers", "error", err)
		n.record(fleet.Event{Type: fleet.EventWarning, Message: fmt.Sprintf("the swarm's managers cannot be kept yet: %s", err)})
	}
	joined := n.joined()
	if len(joined) < 3 && slices.ContainsFunc(joined, func(node fleet.StoredNode) bool { return node.Name == n.own }) {
		n.record(fleet.Event{Type: fleet.EventWarning, NodeID: n.own, Message: fmt.Sprintf("%s in the shared network, with one manager: while node %s is away, nothing new starts on it. With three nodes one may be lost", fleet.CountedAre(len(joined), "node"), n.own)})
	}
}

// joined are the nodes that the spawner has joined in the swarm, by name.
func (n *nodes) joined() []fleet.StoredNode {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var list []fleet.StoredNode
	for _, name := range slices.Sorted(maps.Keys(n.known)) {
		if node := n.known[name]; node.Joined {
			list = append(list, node)
		}
	}
	return list
}

// before is the node of that name, if there is one.
func (n *nodes) before(name string) (fleet.StoredNode, bool) {
	node, err := n.get(name)
	return node, err == nil
}

func nameTaken(name, own string) error {
	why := "change it with update (node add --update), or remove it first"
	if name == own {
		why = "it is the spawner's own node, which --docker-host and --node-name say"
	}
	return fleet.Errorf(fleet.Conflict, "there is a node %q already: %s", name, why).About("name")
}

// refusePlainTCP keeps an engine that asks for no certificate off the network,
// unless it was asked for.
func refusePlainTCP(spec fleet.NodeSpec) error {
	u, err := url.Parse(spec.Endpoint)
	if err != nil || u.Scheme != "tcp" || spec.TLS != nil || spec.AllowPlainTCP || isLoopback(u.Hostname()) {
		return nil
	}
	return fleet.InvalidField("endpoint", "%s is plain TCP on another machine: whoever reaches that port is root there. Give certificates (tls), use ssh://, or say allow_plain_tcp (--allow-plain-tcp)", spec.Endpoint)
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// refuseEngine refuses an engine that is a node under another name, and for a
// node that is updated any engine but its own.
func (n *nodes) refuseEngine(ctx context.Context, told fleet.Node, before fleet.StoredNode) error {
	if before.EngineID != "" && before.EngineID != told.EngineID {
		return fleet.Errorf(fleet.Conflict, "another engine (%s) answers there than the one that node %s has had (%s): remove the node, then add it", told.EngineID, told.Name, before.EngineID).About("endpoint")
	}
	for _, name := range n.names() {
		if name == told.Name {
			continue
		}
		if id := n.engineID(ctx, name); id != "" && id == told.EngineID {
			return fleet.Errorf(fleet.Conflict, "this engine is a node already: %s", name).About("endpoint")
		}
	}
	return nil
}

// engineID is the id of a node's engine; that of the spawner's own is asked for.
func (n *nodes) engineID(ctx context.Context, name string) string {
	node, err := n.get(name)
	if err != nil || node.EngineID != "" {
		return node.EngineID
	}
	told, err := n.pool.Info(ctx, name)
	if err != nil {
		n.log.Warn("Cannot ask a node's engine for its id", "node", name, "error", err)
		return ""
	}
	node.EngineID = told.EngineID
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[name] = node
	return node.EngineID
}

// sealed are the encrypted credentials of a spec; nil when it has none.
func (n *nodes) sealed(spec fleet.NodeSpec) ([]byte, error) {
	if spec.TLS == nil && spec.SSH == nil {
		return nil, nil
	}
	plain, err := spec.Credentials().Reveal()
	if err != nil {
		return nil, fmt.Errorf("cannot write the credentials of node %q: %w", spec.Name, err)
	}
	return n.vault.seal(spec.Name, plain)
}
