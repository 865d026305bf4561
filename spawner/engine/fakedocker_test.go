package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

// behaviour is what an app does once it is started.
type behaviour struct {
	readyAfter time.Duration // from its start
	never      bool          // it never becomes ready
	exits      bool          // by itself, exitAfter its start
	exitAfter  time.Duration
	exitCode   int
	stopTakes  time.Duration // from the stop signal to its end
	startError error         // what the engine answers to its start
	sick       bool          // its health check fails, and it answers its clients
	startTakes time.Duration // from the call to its beginning; 0 = fakeStart
}

// What the fake engine takes for its work.
const (
	fakeStart   = 40 * time.Millisecond
	fakeAnswer  = 15 * time.Millisecond // from the beginning of an app to the answer of its start
	fakeEvent   = 28 * time.Millisecond // from what happens to its notice
	fakeRestart = 100 * time.Millisecond
	fakeConnect = 5 * time.Second // from a stream that broke to the next
)

// fakeDocker is an engine of containers in memory: one node that answers as the
// tables of NODES §1 and §2 say.
type fakeDocker struct {
	node     fleet.Node
	mu       *sync.Mutex           // one for all nodes of a world
	edge     map[string]netip.Addr // by network, of the edge that runs there; nil = there is none
	plugging map[string]bool       // by network, while the edge is being brought onto it
	cluster  *fakeCluster
	boxes    map[string]*box
	images   map[string]fleet.Image // by reference and by id
	networks map[string]fleet.Network
	volumes  map[string]bool // whether it is ours
	watches  map[*fakeWatch]bool
	apps     map[string]behaviour // by image reference
	byName   map[string]behaviour // by the app's container name; goes before apps
	fault    func(verb, name string) error
	madeApps int
	starts   int            // of apps that really began
	started  map[string]int // the same by container name
	calls    []string       // each changing call, "start web-0"
	away     bool           // it answers nothing
	busy     map[int]bool   // ports that something else has
	slow     time.Duration  // what each call takes longer
	mute     chan struct{}  // the engine does not answer until it closes; nil = it answers
	dark     bool           // nothing of the node can be reached
	// forgotten: a process that begins is not told to follow it.
	forgotten bool
	joined    bool // in its swarm by the spawner
	// leaked are addresses that the engine takes for taken, although nothing has them.
	leaked map[netip.Addr]bool
}

// box is a container.
type box struct {
	node       *fakeDocker
	id, name   string
	config     fleet.ContainerConfig
	status     fleet.ContainerStatus
	stopping   bool
	starting   chan struct{} // closed when the start under way has ended; nil = none
	byHand     bool          // stopped by a call: the restart policy does not apply
	life       int           // grows with each start
	startedAt  time.Time
	finishedAt time.Time
	exit       int
	failed     string // of the last start
	milliCPUs  int    // its limit, set by hand
	joined     *box   // the sandbox
	joinedLife int
	hung       bool
	sick       bool // its health check fails
	oom        bool // it ended for want of memory
	conns      map[*fakeConn]bool
	lines      []fleet.LogLine
	health     fleet.Health  // of its HEALTHCHECK
	ended      chan struct{} // closed when the present life has ended
}

func newFakeDocker(cluster *fakeCluster, name string) *fakeDocker {
	d := &fakeDocker{
		plugging: map[string]bool{}, node: fleet.Node{Name: name, CPUs: 2, MemoryMB: 4096}, mu: &cluster.mu, cluster: cluster,
		boxes: map[string]*box{}, images: map[string]fleet.Image{}, networks: map[string]fleet.Network{}, volumes: map[string]bool{},
		watches: map[*fakeWatch]bool{}, apps: map[string]behaviour{}, byName: map[string]behaviour{}, started: map[string]int{},
	}
	d.addImage("sandbox:1", 0)
	for n := range 9 {
		d.addImage(fmt.Sprintf("app:%d", n+1), 8080)
	}
	d.addImage("worker:1", 0)
	subnet := netip.MustParsePrefix("10.9.0.0/24")
	d.networks["traefiknet"] = fleet.Network{ID: "n0", Name: "traefiknet", Driver: "overlay", Subnet: subnet, IPRange: strangersRange(subnet), Gateway: netip.MustParseAddr("10.9.0.1")}
	return d
}

// setDraining stores that of the node, as whoever asked for it does.
func (d *fakeDocker) setDraining(draining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node.Draining = draining
}

func (d *fakeDocker) addImage(ref string, port int) {
	image := fleet.Image{Ref: ref, ID: "sha256:" + strings.ReplaceAll(ref, ":", "-")}
	if port != 0 {
		image.Ports = []int{port}
	}
	d.images[ref], d.images[image.ID] = image, image
}

// trip asks the faults of a test whether a call fails, and notes the call.
func (d *fakeDocker) trip(verb, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, verb+" "+name)
	if d.away {
		return fleet.Errorf(fleet.Unavailable, "node %s does not answer", d.node.Name)
	}
	if d.fault == nil {
		return nil
	}
	return d.fault(verb, name)
}

// flaw lets calls to the engine fail; nil = none.
func (d *fakeDocker) flaw(fault func(verb, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// counts returns how many apps were made and started.
func (d *fakeDocker) counts() (made, started int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.madeApps, d.starts
}

func (d *fakeDocker) name(id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.boxes[id]; b != nil {
		return b.name
	}
	return "gone"
}

func gone(id string) error { return fleet.Errorf(fleet.NotFound, "no such container: %s", id) }

func (d *fakeDocker) removeVolume(name string) (bool, error) {
	if err := d.trip("remove volume", name); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.boxes {
		if slices.ContainsFunc(b.config.Volumes, func(v fleet.Volume) bool { return v.Name == name }) {
			return false, fleet.Errorf(fleet.Conflict, "volume %s is in use", name)
		}
	}
	ours := d.volumes[name]
	if ours {
		delete(d.volumes, name)
	}
	return ours, nil
}

func (d *fakeDocker) create(config fleet.ContainerConfig) (string, error) {
	if err := d.trip("create", config.Name); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.named(config.Name) != nil {
		return "", &fleet.Error{Kind: fleet.Conflict, Field: "name", Message: "container name " + config.Name + " is already in use"}
	}
	if _, there := d.images[config.Image]; !there {
		return "", &fleet.Error{Kind: fleet.NotFound, Field: "image", Message: "no such image: " + config.Image}
	}
	d.cluster.made++
	b := &box{node: d, id: fmt.Sprintf("c%03d", d.cluster.made), name: config.Name, config: config, status: fleet.ContainerCreated, conns: map[*fakeConn]bool{}}
	for _, v := range config.Volumes {
		if _, there := d.volumes[v.Name]; !there {
			d.volumes[v.Name] = true
		}
	}
	if config.SandboxID != "" {
		if b.joined = d.boxes[config.SandboxID]; b.joined == nil {
			return "", gone(config.SandboxID)
		}
		d.madeApps++
	}
	for _, a := range config.Networks {
		if _, there := d.networks[a.Network]; !there {
			return "", &fleet.Error{Kind: fleet.NotFound, Field: "networks", Message: "no network " + a.Network}
		}
	}
	d.boxes[b.id] = b
	return b.id, nil
}

func (d *fakeDocker) named(name string) *box {
	for _, b := range d.boxes {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (d *fakeDocker) behaviourOf(b *box) behaviour {
	if own, ok := d.byName[b.name]; ok {
		return own
	}
	image := d.images[b.config.Image]
	return d.apps[image.Ref]
}

// start goes on when its caller has left, as an engine does.
func (d *fakeDocker) start(ctx context.Context, id string) error {
	if err := d.trip("start", d.name(id)); err != nil {
		return err
	}
	d.mu.Lock()
	b := d.boxes[id]
	if b == nil {
		d.mu.Unlock()
		return gone(id)
	}
	if b.status == fleet.ContainerPaused {
		d.mu.Unlock()
		return fleet.Errorf(fleet.Conflict, "cannot start a paused container, try unpause instead")
	}
	if b.status == fleet.ContainerRunning || b.starting != nil {
		d.mu.Unlock()
		return nil // also while it is being stopped: then it dies anyway
	}
	under := d.behaviourOf(b)
	answered := make(chan error, 1)
	b.starting = make(chan struct{})
	takes := under.startTakes
	if takes == 0 {
		takes = fakeStart
	}
	d.mu.Unlock()
	time.AfterFunc(takes, func() {
		err := d.began(b, under)
		time.AfterFunc(fakeAnswer, func() { answered <- err })
	})
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return fleet.Errorf(fleet.Unavailable, "the engine did not answer: %s", context.Cause(ctx))
	}
}

func (d *fakeDocker) began(b *box, under behaviour) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(b.starting)
	b.starting = nil
	if d.boxes[b.id] == nil {
		return gone(b.id)
	}
	if err := d.canBegin(b, under); err != nil {
		b.status, b.exit, b.failed = fleet.ContainerExited, 128, err.Error()
		if b.life == 0 {
			b.status = fleet.ContainerCreated
		}
		return err
	}
	b.life++
	b.status, b.startedAt, b.byHand, b.hung, b.failed = fleet.ContainerRunning, time.Now(), false, false, ""
	b.sick, b.oom = false, false
	b.ended = make(chan struct{})
	if b.joined != nil {
		b.joinedLife = b.joined.life
		d.starts++
		d.started[b.name]++
	}
	d.tell(b, fleet.Notice{Action: fleet.NoticeStarted})
	if under.exits {
		life := b.life
		after := max(under.exitAfter, time.Nanosecond) // as in watch
		time.AfterFunc(after, func() { d.end(b, life, under.exitCode) })
	}
	return nil
}

func (d *fakeDocker) canBegin(b *box, under behaviour) error {
	if under.startError != nil {
		return under.startError
	}
	if b.config.SandboxID != "" {
		if d.boxes[b.joined.id] == nil {
			return &fleet.Error{Kind: fleet.NotFound, Field: fieldSandbox, Message: "no such container: " + b.joined.id}
		}
		if b.joined.status != fleet.ContainerRunning {
			return &fleet.Error{Kind: fleet.Conflict, Field: fieldSandbox, Message: "cannot join network of a non running container"}
		}
		return nil
	}
	if slices.ContainsFunc(b.config.Networks, func(a fleet.Attachment) bool { return d.leaked[a.Address] }) {
		return &fleet.Error{Kind: fleet.Conflict, Field: fieldAddress, Message: "address already in use"}
	}
	for _, other := range d.cluster.boxes() {
		if other == b || other.status != fleet.ContainerRunning {
			continue
		}
		for _, mine := range b.config.Networks {
			for _, theirs := range other.config.Networks {
				if mine.Network == theirs.Network && mine.Address.IsValid() && mine.Address == theirs.Address {
					d.cluster.wrong = append(d.cluster.wrong, fmt.Sprintf("%s and %s both got the address %s", b.name, other.name, mine.Address))
					return &fleet.Error{Kind: fleet.Conflict, Field: "address", Message: "address already in use"}
				}
			}
		}
		for _, p := range b.config.Ports {
			if other.node != d {
				break
			}
			for _, q := range other.config.Ports {
				if p.HostPort != 0 && p.HostPort == q.HostPort {
					return &fleet.Error{Kind: fleet.Conflict, Field: "host_port", Message: fmt.Sprintf("%d is held by %s", p.HostPort, other.name)}
				}
			}
		}
	}
	for _, p := range b.config.Ports {
		if d.busy[p.HostPort] {
			return &fleet.Error{Kind: fleet.Conflict, Field: "host_port", Message: fmt.Sprintf("port %d of node %s is taken by a process of the host", p.HostPort, d.node.Name)}
		}
	}
	d.checkEdge(b)
	return nil
}

// checkEdge notes an address that an edge still sends another service's traffic to.
func (d *fakeDocker) checkEdge(b *box) {
	if d.cluster.edgeKnows == nil {
		return
	}
	for _, a := range b.config.Networks {
		if a.Address.IsValid() {
			if service := d.cluster.edgeKnows(a.Address); service != "" && service != b.config.Labels[fleet.LabelService] {
				d.cluster.wrong = append(d.cluster.wrong, fmt.Sprintf("%s began with %s, which an edge still takes for %s", b.name, a.Address, service))
			}
		}
	}
}

// end is the end of a life, by itself, by a signal or by a stop.
func (d *fakeDocker) end(b *box, life, exit int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endLocked(b, life, exit)
}

func (d *fakeDocker) endLocked(b *box, life, exit int) {
	if b.life != life || b.status != fleet.ContainerRunning && b.status != fleet.ContainerPaused {
		return
	}
	b.status, b.exit, b.finishedAt, b.stopping = fleet.ContainerExited, exit, time.Now(), false
	close(b.ended)
	d.tell(b, fleet.Notice{Action: fleet.NoticeDied, Exit: exit})
	if b.config.Restart == "always" && !b.byHand {
		time.AfterFunc(fakeRestart, func() { d.restarted(b) })
	}
}

func (d *fakeDocker) restarted(b *box) {
	d.mu.Lock()
	ready := d.boxes[b.id] != nil && b.status == fleet.ContainerExited && !b.byHand && b.starting == nil
	if ready {
		b.starting = make(chan struct{})
	}
	d.mu.Unlock()
	if ready {
		if err := d.began(b, behaviour{}); err != nil {
			time.AfterFunc(fakeRestart, func() { d.restarted(b) })
		}
	}
}

func (d *fakeDocker) stop(ctx context.Context, id string, grace time.Duration) error {
	if err := d.trip("stop", d.name(id)); err != nil {
		return err
	}
	if err := d.settleStart(ctx, id); err != nil {
		return err
	}
	d.mu.Lock()
	b := d.boxes[id]
	if b == nil {
		d.mu.Unlock()
		return gone(id)
	}
	b.byHand = true
	if b.status != fleet.ContainerRunning && b.status != fleet.ContainerPaused {
		d.mu.Unlock()
		return nil
	}
	b.status = fleet.ContainerRunning // a paused one is unpaused first
	b.stopping = true
	ended, life := b.ended, b.life
	takes, exit := d.behaviourOf(b).stopTakes, 143
	if takes > grace {
		takes, exit = grace, 137
	}
	if takes == 0 {
		takes = 10 * time.Millisecond
	}
	time.AfterFunc(takes, func() { d.end(b, life, exit) })
	d.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fleet.Errorf(fleet.Unavailable, "the engine did not answer: %s", context.Cause(ctx))
	}
}

// settleStart waits for the end of a start under way.
func (d *fakeDocker) settleStart(ctx context.Context, id string) error {
	d.mu.Lock()
	b := d.boxes[id]
	if b == nil || b.starting == nil {
		d.mu.Unlock()
		return nil
	}
	starting := b.starting
	d.mu.Unlock()
	select {
	case <-starting:
		return nil
	case <-ctx.Done():
		return fleet.Errorf(fleet.Unavailable, "the engine did not answer: %s", context.Cause(ctx))
	}
}

func (d *fakeDocker) remove(ctx context.Context, id string) error {
	if err := d.trip("remove", d.name(id)); err != nil {
		return err
	}
	if err := d.settleStart(ctx, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[id]
	if b == nil {
		return nil
	}
	b.byHand = true
	d.endLocked(b, b.life, 137)
	delete(d.boxes, id)
	d.tell(b, fleet.Notice{Action: fleet.NoticeRemoved})
	return nil
}

func (d *fakeDocker) pause(id string) error {
	if err := d.trip("pause", d.name(id)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[id]
	switch {
	case b == nil:
		return gone(id)
	case b.status == fleet.ContainerPaused:
		return nil
	case b.status != fleet.ContainerRunning:
		return fleet.Errorf(fleet.Conflict, "%s is not running", b.name)
	}
	b.status = fleet.ContainerPaused
	d.tell(b, fleet.Notice{Action: fleet.NoticePaused})
	return nil
}

func (d *fakeDocker) unpause(id string) error {
	if err := d.trip("unpause", d.name(id)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[id]
	if b == nil {
		return gone(id)
	}
	if b.status == fleet.ContainerPaused {
		b.status = fleet.ContainerRunning
		d.tell(b, fleet.Notice{Action: fleet.NoticeUnpaused})
	}
	return nil
}

func (d *fakeDocker) inspect(ctx context.Context, id string) (fleet.Container, error) {
	if err := d.trip("inspect", d.name(id)); err != nil {
		return fleet.Container{}, err
	}
	if err := d.settleStart(ctx, id); err != nil {
		return fleet.Container{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boxes[id]
	if b == nil {
		return fleet.Container{}, gone(id)
	}
	c := b.describe()
	c.StartedAt, c.FinishedAt, c.Env = b.startedAt, b.finishedAt, maps.Clone(b.config.Env)
	c.ImageID, c.MemoryMB, c.CPUShares = d.images[b.config.Image].ID, b.config.MemoryMB, b.config.CPUShares
	c.MilliCPUs = b.milliCPUs
	return c, nil
}

func (b *box) describe() fleet.Container {
	c := fleet.Container{
		ID: b.id, Name: b.name, Node: b.node.node.Name, Image: b.config.Image, Labels: maps.Clone(b.config.Labels), Status: b.status,
		ExitCode: b.exit, OOMKilled: b.oom, Health: b.health, Error: b.failed, SandboxID: b.config.SandboxID, Ports: slices.Clone(b.config.Ports),
	}
	if b.status == fleet.ContainerRunning && len(b.config.Networks) > 0 {
		c.Addresses = map[string]netip.Addr{}
		for _, a := range b.config.Networks {
			c.Addresses[a.Network] = a.Address
		}
	}
	return c
}

func (d *fakeDocker) list() ([]fleet.Container, error) {
	if err := d.trip("list", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []fleet.Container
	for _, b := range d.boxes {
		if b.config.Labels[fleet.LabelRole] != "" {
			list = append(list, b.describe())
		}
	}
	slices.SortFunc(list, func(x, y fleet.Container) int { return strings.Compare(x.ID, y.ID) })
	return list, nil
}

// answering returns the app that answers at an address: it runs, in the network
// that is there now, and is ready.
func (d *fakeDocker) answering(address netip.Addr) *box {
	if d.dark {
		return nil
	}
	for _, b := range d.boxes {
		if b.joined == nil || b.status != fleet.ContainerRunning || b.hung || b.joined.status != fleet.ContainerRunning || b.joined.life != b.joinedLife {
			continue
		}
		under := d.behaviourOf(b)
		at := slices.ContainsFunc(b.joined.config.Networks, func(a fleet.Attachment) bool { return a.Address == address })
		if at && !under.never && !time.Now().Before(b.startedAt.Add(under.readyAfter)) {
			return b
		}
	}
	return nil
}

func (d *fakeDocker) import_(ref string, rootfs io.Reader) (fleet.Image, error) {
	if _, err := io.Copy(io.Discard, rootfs); err != nil {
		return fleet.Image{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addImage(ref, 0)
	return d.images[ref], nil
}

func (d *fakeDocker) image(ref string) (fleet.Image, error) {
	if err := d.trip("image", ref); err != nil {
		return fleet.Image{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	image, there := d.images[ref]
	if !there {
		return fleet.Image{}, &fleet.Error{Kind: fleet.NotFound, Field: "image", Message: "there is no image " + ref}
	}
	return image, nil
}
