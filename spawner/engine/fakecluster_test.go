package engine

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	fakePlug     = 20 * time.Millisecond // to bring an edge onto a network
	fakeNoAnswer = 2 * time.Second       // until a stream notices that its engine is silent
	fakePatience = time.Minute           // of a call to an engine that does not answer
)

// fakeCluster is the nodes of a world: engines side by side on one overlay network.
type fakeCluster struct {
	mu        sync.Mutex
	nodes     []*fakeDocker
	adding    sync.RWMutex // of a node, for on, whose caller may have mu or not
	made      int          // containers, on all nodes
	wrong     []string     // rules that were broken
	edgeKnows func(netip.Addr) (service string)

	bringTakes time.Duration // an image, from one node to another
	bringing   int           // images on their way
	brought    []string      // to which nodes, and how many were on their way then
}

// add makes a node; one that the engine does not follow until it is told.
func (c *fakeCluster) add(name string) *fakeDocker {
	d := newFakeDocker(c, name)
	c.adding.Lock()
	defer c.adding.Unlock()
	c.nodes = append(c.nodes, d)
	return d
}

// boxes are the containers of all nodes, by id. It is called with the lock held.
func (c *fakeCluster) boxes() []*box {
	var list []*box
	for _, d := range c.nodes {
		list = slices.AppendSeq(list, maps.Values(d.boxes))
	}
	slices.SortFunc(list, func(x, y *box) int { return strings.Compare(x.id, y.id) })
	return list
}

// answering returns the app that answers at an address. It is called with the lock held.
func (c *fakeCluster) answering(address netip.Addr) *box {
	for _, d := range c.nodes {
		if b := d.answering(address); b != nil {
			return b
		}
	}
	return nil
}

// answeringAt returns the app that answers at an address and port: one that is
// published there on its node, else one that has the address itself. It is called with the lock held.
func (c *fakeCluster) answeringAt(at netip.AddrPort) *box {
	for _, d := range c.nodes {
		for _, b := range d.boxes {
			for _, p := range b.config.Ports {
				if p.HostIP == at.Addr().String() && p.HostPort == int(at.Port()) && b.status == fleet.ContainerRunning {
					return d.answering(b.config.Networks[0].Address)
				}
			}
		}
	}
	for _, d := range c.nodes {
		if b := d.answering(at.Addr()); b != nil && (d.node.Address == "" || d.networks["traefiknet"].Driver == "overlay") {
			return b
		}
	}
	return nil
}

// on returns the node of that name.
func (w *world) on(name string) *fakeDocker {
	w.cluster.adding.RLock()
	defer w.cluster.adding.RUnlock()
	for _, d := range w.cluster.nodes {
		if d.node.Name == name {
			return d
		}
	}
	w.t.Fatalf("there is no node %q", name)
	return nil
}

// silence stops an engine from answering; what runs on it goes on. Dark says
// that nothing of the node can be reached either.
func (d *fakeDocker) silence(dark bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dark = dark
	if d.mute != nil {
		return
	}
	d.mute = make(chan struct{})
	for w := range d.watches {
		w.broken = true
		w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeLost, Time: time.Now(), Err: context.DeadlineExceeded}, fakeNoAnswer)
	}
}

// speak lets a silent engine answer again.
func (d *fakeDocker) speak() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dark = false
	if d.mute == nil {
		return
	}
	close(d.mute)
	d.mute = nil
	for w := range d.watches {
		w.broken = false
		w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeConnected, Time: time.Now()}, 0)
	}
}

// reach waits for an engine to answer.
func (d *fakeDocker) reach(ctx context.Context) error {
	d.mu.Lock()
	mute, slow := d.mute, d.slow
	d.mu.Unlock()
	if mute == nil && slow > 0 {
		mute = make(chan struct{})
		time.AfterFunc(slow, func() { close(mute) })
	}
	if mute == nil {
		return nil
	}
	patience := time.NewTimer(fakePatience)
	defer patience.Stop()
	select {
	case <-mute:
		return nil
	case <-patience.C:
		return fleet.Errorf(fleet.Unavailable, "node %s does not answer", d.node.Name)
	case <-ctx.Done():
		return fleet.Errorf(fleet.Unavailable, "node %s did not answer: %s", d.node.Name, context.Cause(ctx))
	}
}

// at makes a call to a node's engine; kind is ask or change1.
func at[T any](ctx context.Context, p *process, node string, kind func(*process, func() (T, error)) (T, error), call func(*fakeDocker) (T, error)) (T, error) {
	d := p.world.on(node)
	if err := d.reach(ctx); err != nil {
		var none T
		return none, err
	}
	return kind(p, func() (T, error) { return call(d) })
}

func atDo(ctx context.Context, p *process, node string, call func(*fakeDocker) error) error {
	_, err := at(ctx, p, node, change1, func(d *fakeDocker) (struct{}, error) { return struct{}{}, call(d) })
	return err
}

func (d *fakeDocker) findNetwork(name string) (fleet.Network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, there := d.networks[name]
	if !there {
		return fleet.Network{}, fleet.Errorf(fleet.NotFound, "no network %s", name)
	}
	return n, nil
}

func (d *fakeDocker) makeNetwork(c fleet.NetworkConfig) (fleet.Network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.networks {
		if c.Subnet.Overlaps(other.Subnet) {
			return fleet.Network{}, &fleet.Error{Kind: fleet.Conflict, Field: "subnet", Message: "overlaps " + other.Name}
		}
	}
	n := fleet.Network{ID: "n-" + c.Name, Name: c.Name, Driver: c.Driver, Subnet: c.Subnet, IPRange: c.IPRange, Gateway: c.Subnet.Addr().Next(),
		Labels: map[string]string{fleet.LabelFleet: fakeFleet}}
	d.networks[c.Name] = n
	for _, other := range d.cluster.nodes {
		if c.Driver == driverOverlay && other.node.Swarm != nil {
			other.networks[c.Name] = n
		}
	}
	return n, nil
}

// attendants is the edge of a node, if it has one.
func (d *fakeDocker) attendants() []fleet.Container {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.edge == nil {
		return nil
	}
	return []fleet.Container{{ID: "edge-" + d.node.Name, Name: "edge", Addresses: maps.Clone(d.edge)}}
}

// plug brings the edge of a node onto a network, or takes it off.
func (d *fakeDocker) plug(network string, in bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.edge, network)
	if !in {
		return nil
	}
	if d.plugging[network] {
		d.cluster.wrong = append(d.cluster.wrong, fmt.Sprintf("the edge of %s is brought onto %s twice at once", d.node.Name, network))
	}
	d.plugging[network] = true
	d.mu.Unlock()
	time.Sleep(fakePlug)
	d.mu.Lock()
	delete(d.plugging, network)
	d.edge[network] = netip.MustParseAddr("10.9.0.250")
	return nil
}

func (d *fakeDocker) removeNetwork(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	wide := d.networks[name].Driver == driverOverlay
	delete(d.networks, name)
	for _, other := range d.cluster.nodes {
		if wide && other.node.Swarm != nil {
			delete(other.networks, name)
		}
	}
	return nil
}

// startsOf counts the starts of a service's apps on all nodes.
func (c *fakeCluster) startsOf(service string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for _, d := range c.nodes {
		for name, n := range d.started {
			if strings.HasPrefix(name, service+"-") {
				count += n
			}
		}
	}
	return count
}

// elsewhere brings an image to a node from another one that has it.
func (w *world) elsewhere(ctx context.Context, name, ref string) (fleet.Image, error) {
	w.cluster.mu.Lock()
	w.cluster.bringing++
	w.cluster.brought = append(w.cluster.brought, fmt.Sprintf("%s, %d at a time", name, w.cluster.bringing))
	takes := w.cluster.bringTakes
	w.cluster.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	to := w.on(name)
	to.mu.Lock()
	defer to.mu.Unlock()
	w.cluster.bringing--
	if err := ctx.Err(); err != nil {
		return fleet.Image{}, err
	}
	for _, from := range w.cluster.nodes {
		if image, there := from.images[ref]; there && from.mute == nil {
			to.images[image.ID] = image
			return image, nil
		}
	}
	return fleet.Image{}, &fleet.Error{Kind: fleet.NotFound, Field: "image", Message: "no node has " + ref}
}
