package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

// nodeStore keeps what nodes were added with.
type nodeStore interface {
	List(ctx context.Context) ([]fleet.StoredNode, error)
	Put(ctx context.Context, node fleet.StoredNode) error
	Remove(ctx context.Context, name string) error
}

// nodeFollower is the part of the engine that follows nodes which come and go.
type nodeFollower interface {
	// AddNode begins to follow a node; it does not wait for it.
	AddNode(ctx context.Context, node fleet.Node) error
	// UpdateNode takes what is said of a node anew.
	UpdateNode(ctx context.Context, node fleet.Node) error
	// RemoveNode stops that. Conflict while replicas are there, unless force:
	// then they are placed elsewhere.
	RemoveNode(ctx context.Context, name string, force bool) error
	// DrainNode and ResumeNode say whether replicas may be on the node.
	DrainNode(ctx context.Context, name string) error
	ResumeNode(ctx context.Context, name string) error
}

// nodes are the engines of the fleet: the spawner's own, which the configuration
// names, and those that were added.
type nodes struct {
	pool   *docker.Pool
	store  nodeStore
	vault  *vault
	own    string // the node of the configuration
	swarm  *swarmKeeper
	leases *nodeLeases
	follow nodeFollower
	record func(fleet.Event)
	gone   func(node string) // is told of a node that is the fleet's no more
	log    *slog.Logger

	changing chan struct{} // capacity 1: one node comes, changes or goes at a time

	mu    sync.RWMutex
	known map[string]fleet.StoredNode
	notes map[string]string // why a node cannot be reached at all
}

// load makes the pool know the stored nodes and the configuration's own. A node
// whose credentials cannot be opened is known and silent; the others are not
// kept from working.
func (n *nodes) load(ctx context.Context, own fleet.StoredNode, options []docker.DialOption) error {
	stored, err := n.store.List(ctx)
	if err != nil {
		return err
	}
	if err := n.pool.Add(own.Node, options...); err != nil {
		return err
	}
	n.own = own.Name
	n.known, n.notes = map[string]fleet.StoredNode{}, map[string]string{}
	for _, node := range stored {
		if node.Name == own.Name {
			own.Draining, own.Joined = node.Draining, node.Joined
			continue
		}
		n.known[node.Name] = node
		if err := n.connect(node); err != nil {
			n.notes[node.Name] = err.Error()
			n.log.Error("Cannot use the credentials of a node", "node", node.Name, "error", err)
		}
	}
	n.known[own.Name] = own
	return nil
}

// connect makes the pool know a stored node.
func (n *nodes) connect(node fleet.StoredNode) error {
	credentials, err := n.credentials(node)
	if err != nil {
		return err
	}
	return n.pool.Add(node.Node, dialOptions(credentials)...)
}

// credentials are those of a stored node, decrypted; zero when it has none.
func (n *nodes) credentials(node fleet.StoredNode) (credentials fleet.NodeCredentials, err error) {
	if len(node.Sealed) == 0 {
		return credentials, nil
	}
	plain, err := n.vault.open(node.Name, node.Sealed)
	if err != nil {
		return credentials, fmt.Errorf("its credentials cannot be read: %w (put the key file back, or give them again with node add --update)", err)
	}
	if err := json.Unmarshal(plain, &credentials); err != nil {
		return credentials, fmt.Errorf("its credentials cannot be read: %w", err)
	}
	return credentials, nil
}

// dialOptions are the pool's form of credentials.
func dialOptions(credentials fleet.NodeCredentials) []docker.DialOption {
	var options []docker.DialOption
	if credentials.TLS != nil {
		options = append(options, docker.WithCertificates(*credentials.TLS))
	}
	if credentials.SSH != nil {
		options = append(options, docker.WithSSH(*credentials.SSH))
	}
	return options
}

// names are those of the nodes, in order.
func (n *nodes) names() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Sorted(maps.Keys(n.known))
}

// get returns what a node was added with; NotFound for one that is not there.
func (n *nodes) get(name string) (fleet.StoredNode, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	node, known := n.known[name]
	if !known {
		return node, fleet.Errorf(fleet.NotFound, "there is no node %q", name)
	}
	return node, nil
}

// put stores a node and takes it as known.
func (n *nodes) put(ctx context.Context, node fleet.StoredNode) error {
	if err := n.store.Put(ctx, node); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[node.Name] = node
	return nil
}

// List tells which nodes there are, as they were added; no engine is asked.
func (n *nodes) List(context.Context) ([]fleet.Node, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	list := make([]fleet.Node, 0, len(n.known))
	for _, name := range slices.Sorted(maps.Keys(n.known)) {
		node := n.known[name].Unheard()
		node.Note = n.notes[name]
		list = append(list, node)
	}
	return list, nil
}

// Info asks a node's engine who it is.
func (n *nodes) Info(ctx context.Context, name string) (fleet.Node, error) {
	node := n.ask(ctx, name)
	if node.State != fleet.NodeReady {
		return node, fleet.Errorf(fleet.Unavailable, "%s", node.Note)
	}
	return node, nil
}

// UsageOfNode measures what the fleet's containers use of a node now.
func (n *nodes) UsageOfNode(ctx context.Context, name string) (fleet.Resources, error) {
	return n.pool.Usage(ctx, name)
}

// ask returns one node with what its engine says.
func (n *nodes) ask(ctx context.Context, name string) fleet.Node {
	told, err := n.pool.Info(ctx, name)
	n.mu.RLock()
	defer n.mu.RUnlock()
	stored := n.known[name]
	told.Name, told.Endpoint, told.Address, told.Labels, told.Draining = name, stored.Endpoint, stored.Address, stored.Labels, stored.Draining
	if err != nil {
		told.EngineID = stored.EngineID
		told.Note = err.Error()
	}
	if note := n.notes[name]; note != "" {
		told.Note = note
	}
	return told
}
