package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

// process is one life of the spawner: the engine's ways to the world go through
// it. When it is killed, nothing that the engine still does has any effect.
type process struct {
	world  *world
	engine *Engine
	ctx    context.Context // of its life
	cancel context.CancelFunc
	prober *fakeProber
	ran    chan error // Run's result

	mu    sync.Mutex
	calls int           // that change something
	limit int           // the call with this number kills the process; 0 = none
	dead  bool          //
	died  chan struct{} // closed when it is killed
	// changing holds what is being done to each container, by id.
	changing map[string]string
}

var errKilled = fleet.Errorf(fleet.Unavailable, "the process has been killed")

// alive says whether a call may go on; changes counts towards the limit.
func (p *process) alive(changes bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changes && !p.dead {
		p.calls++
		if p.limit != 0 && p.calls >= p.limit {
			p.killLocked()
		}
	}
	if p.dead {
		return errKilled
	}
	return nil
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killLocked()
}

func (p *process) killLocked() {
	if !p.dead {
		p.dead = true
		close(p.died)
	}
}

// ask carries out a call that changes nothing, change one that does.
func ask[T any](p *process, call func() (T, error)) (T, error) {
	if err := p.alive(false); err != nil {
		var none T
		return none, err
	}
	return call()
}

func change1[T any](p *process, call func() (T, error)) (T, error) {
	if err := p.alive(true); err != nil {
		var none T
		return none, err
	}
	return call()
}

func do(p *process, call func() error) error {
	if err := p.alive(true); err != nil {
		return err
	}
	return call()
}

type (
	containersView struct{ *process }
	networksView   struct{ *process }
	imagesView     struct{ *process }
	stockView      struct{ *process }
	servicesView   struct{ *process }
	addressesView  struct{ *process }
	standingsView  struct{ *process }
	jobsView       struct{ *process }
	eventsView     struct{ *process }
	nodesView      struct{ *process }
	routerView     struct{ *process }
)

// alone carries out a call that changes a container. Two at once of one process
// at the same container are a rule that was broken, in whatever test.
func alone(ctx context.Context, p *process, node string, call func(*fakeDocker) error, verb, id string) error {
	p.mu.Lock()
	other, busy := p.changing[id]
	if !busy {
		p.changing[id] = verb
	}
	p.mu.Unlock()
	if busy {
		p.world.docker.mu.Lock()
		p.world.docker.cluster.wrong = append(p.world.docker.cluster.wrong, fmt.Sprintf("%s and %s of container %s at once", other, verb, id))
		p.world.docker.mu.Unlock()
	} else {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.changing, id)
		}()
	}
	return atDo(ctx, p, node, call)
}

func (v containersView) Create(ctx context.Context, node string, c fleet.ContainerConfig) (string, error) {
	return at(ctx, v.process, node, change1, func(d *fakeDocker) (string, error) { return d.create(c) })
}
func (v containersView) Start(ctx context.Context, node, id string) error {
	return alone(ctx, v.process, node, func(d *fakeDocker) error { return d.start(ctx, id) }, "start", id)
}
func (v containersView) Stop(ctx context.Context, node, id string, grace time.Duration) error {
	return alone(ctx, v.process, node, func(d *fakeDocker) error { return d.stop(ctx, id, grace) }, "stop", id)
}
func (v containersView) Remove(ctx context.Context, node, id string) error {
	return alone(ctx, v.process, node, func(d *fakeDocker) error { return d.remove(ctx, id) }, "remove", id)
}
func (v containersView) Inspect(ctx context.Context, node, id string) (fleet.Container, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Container, error) { return d.inspect(ctx, id) })
}
func (v containersView) List(ctx context.Context, node string) ([]fleet.Container, error) {
	return at(ctx, v.process, node, ask, (*fakeDocker).list)
}

func (p *process) Pause(ctx context.Context, node, id string) error {
	return alone(ctx, p, node, func(d *fakeDocker) error { return d.pause(id) }, "pause", id)
}
func (p *process) Unpause(ctx context.Context, node, id string) error {
	return alone(ctx, p, node, func(d *fakeDocker) error { return d.unpause(id) }, "unpause", id)
}
func (p *process) Watch(ctx context.Context, node string) <-chan fleet.Notice {
	return p.world.on(node).watch(ctx)
}
func (p *process) Exec(ctx context.Context, node, id string, _ []string) (fleet.ExecResult, error) {
	return at(ctx, p, node, ask, func(d *fakeDocker) (fleet.ExecResult, error) { return d.exec(id) })
}
func (p *process) Logs(ctx context.Context, node, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	return p.world.on(node).logs(ctx, id, o, line)
}

func (v imagesView) Ensure(ctx context.Context, node, ref string, policy fleet.PullPolicy) (fleet.Image, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Image, error) {
		if policy != fleet.PullNever {
			if err := d.trip("pull", ref); err != nil {
				return fleet.Image{}, err
			}
		}
		return d.image(ref)
	})
}
func (v imagesView) Bring(ctx context.Context, node, ref string) (fleet.Image, error) {
	image, err := at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Image, error) { return d.image(ref) })
	if err == nil || fleet.KindOf(err) != fleet.NotFound {
		return image, err
	}
	return v.world.elsewhere(ctx, node, ref)
}
func (v imagesView) Check(ctx context.Context, node, ref string, _ fleet.PullPolicy) error {
	_, err := at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Image, error) { return d.image(ref) })
	return err
}
func (v imagesView) Import(ctx context.Context, node, ref string, rootfs io.Reader, _ []string) (fleet.Image, error) {
	return at(ctx, v.process, node, change1, func(d *fakeDocker) (fleet.Image, error) { return d.import_(ref, rootfs) })
}

func (v stockView) Stock(ctx context.Context, node string) (fleet.Stock, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Stock, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		stock := fleet.Stock{Images: slices.Sorted(maps.Keys(d.images)), Volumes: slices.Sorted(maps.Keys(d.volumes))}
		for _, b := range d.boxes {
			if other := b.config.Labels[fleet.LabelFleet]; strings.HasPrefix(other, "other") && b.status == fleet.ContainerRunning {
				stock.Fleets = append(stock.Fleets, other)
			}
			if b.config.Labels[fleet.LabelService] != "" || b.status != fleet.ContainerRunning {
				continue
			}
			for _, port := range b.config.Ports {
				stock.Ports = append(stock.Ports, fleet.HeldPort{Port: port, Holder: "container " + b.name})
			}
		}
		return stock, nil
	})
}
func (v stockView) RemoveVolume(ctx context.Context, node, name string) (bool, error) {
	return at(ctx, v.process, node, change1, func(d *fakeDocker) (bool, error) { return d.removeVolume(name) })
}

func (v networksView) Find(ctx context.Context, node, name string) (fleet.Network, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Network, error) { return d.findNetwork(name) })
}
func (v networksView) Create(ctx context.Context, node string, c fleet.NetworkConfig) (fleet.Network, error) {
	return at(ctx, v.process, node, change1, func(d *fakeDocker) (fleet.Network, error) { return d.makeNetwork(c) })
}
func (v networksView) Remove(ctx context.Context, node, name string) error {
	return atDo(ctx, v.process, node, func(d *fakeDocker) error { return d.removeNetwork(name) })
}
func (v networksView) Connect(ctx context.Context, node, network, _ string) error {
	return atDo(ctx, v.process, node, func(d *fakeDocker) error { return d.plug(network, true) })
}
func (v networksView) Disconnect(ctx context.Context, node, network, _ string) error {
	return atDo(ctx, v.process, node, func(d *fakeDocker) error { return d.plug(network, false) })
}
func (v networksView) Attendants(ctx context.Context, node string) ([]fleet.Container, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) ([]fleet.Container, error) { return d.attendants(), nil })
}

func (v servicesView) store() sqlite.Services { return v.world.store.Services() }
func (v servicesView) Load(ctx context.Context) ([]fleet.Desired, error) {
	return ask(v.process, func() ([]fleet.Desired, error) { return v.store().Load(ctx) })
}
func (v servicesView) AddRevision(ctx context.Context, r fleet.Revision, j fleet.Job) (int, error) {
	return change1(v.process, func() (int, error) { return v.store().AddRevision(ctx, r, j) })
}
func (v servicesView) Adopt(ctx context.Context, d fleet.Desired, r fleet.Revision) error {
	return do(v.process, func() error { return v.store().Adopt(ctx, d, r) })
}
func (v servicesView) Save(ctx context.Context, d fleet.Desired) error {
	return do(v.process, func() error { return v.store().Save(ctx, d) })
}
func (v servicesView) Delete(ctx context.Context, name string) error {
	return do(v.process, func() error { return v.store().Delete(ctx, name) })
}
func (v servicesView) Revision(ctx context.Context, name string, number int) (fleet.Revision, error) {
	return ask(v.process, func() (fleet.Revision, error) { return v.store().Revision(ctx, name, number) })
}
func (v servicesView) Revisions(ctx context.Context, name string) ([]fleet.Revision, error) {
	return ask(v.process, func() ([]fleet.Revision, error) { return v.store().Revisions(ctx, name) })
}
func (v servicesView) SetRevision(ctx context.Context, r fleet.Revision) error {
	return do(v.process, func() error { return v.store().SetRevision(ctx, r) })
}

func (v addressesView) store() sqlite.Addresses { return v.world.store.Addresses() }
func (v addressesView) Take(ctx context.Context, network string, pool fleet.AddressPool, holder string) (fleet.Lease, error) {
	return change1(v.process, func() (fleet.Lease, error) { return v.store().Take(ctx, network, pool, holder) })
}
func (v addressesView) TakePort(ctx context.Context, node string, ports fleet.PortRange, holder string, avoid []int) (int, error) {
	return change1(v.process, func() (int, error) { return v.store().TakePort(ctx, node, ports, holder, avoid) })
}
func (v addressesView) ClaimPort(ctx context.Context, node string, port int, holder string) error {
	return do(v.process, func() error { return v.store().ClaimPort(ctx, node, port, holder) })
}
func (v addressesView) Release(ctx context.Context, holder string) error {
	return do(v.process, func() error { return v.store().Release(ctx, holder) })
}
func (v addressesView) Claim(ctx context.Context, l fleet.Lease) error {
	return do(v.process, func() error { return v.store().Claim(ctx, l) })
}
func (v addressesView) Holders(ctx context.Context) ([]fleet.Lease, error) {
	return ask(v.process, func() ([]fleet.Lease, error) { return v.store().Holders(ctx) })
}

func (v standingsView) List(ctx context.Context) ([]fleet.Standing, error) {
	return ask(v.process, func() ([]fleet.Standing, error) { return v.world.store.Standings().List(ctx) })
}
func (v standingsView) Change(ctx context.Context, put, drop []fleet.Standing) error {
	_, err := ask(v.process, func() (struct{}, error) { return struct{}{}, v.world.store.Standings().Change(ctx, put, drop) }) // no step of anything
	return err
}

func (v jobsView) store() sqlite.Jobs { return v.world.store.Jobs() }
func (v jobsView) Add(ctx context.Context, j fleet.Job) error {
	return do(v.process, func() error { return v.store().Add(ctx, j) })
}
func (v jobsView) Update(ctx context.Context, j fleet.Job) error {
	return do(v.process, func() error { return v.store().Update(ctx, j) })
}
func (v jobsView) Get(ctx context.Context, id string) (fleet.Job, error) {
	return ask(v.process, func() (fleet.Job, error) { return v.store().Get(ctx, id) })
}
func (v jobsView) List(ctx context.Context, service string, unfinished bool, limit int) ([]fleet.Job, error) {
	return ask(v.process, func() ([]fleet.Job, error) { return v.store().List(ctx, service, unfinished, limit) })
}

func (v eventsView) store() sqlite.Events { return v.world.store.Events() }
func (v eventsView) Append(ctx context.Context, e []fleet.Event) ([]fleet.Event, error) {
	return ask(v.process, func() ([]fleet.Event, error) { return v.store().Append(ctx, e) }) // no step of anything
}
func (v eventsView) List(ctx context.Context, f fleet.EventFilter) ([]fleet.Event, error) {
	return ask(v.process, func() ([]fleet.Event, error) { return v.store().List(ctx, f) })
}

func (v eventsView) Bounds(ctx context.Context) (oldest, newest int64, err error) {
	return v.store().Bounds(ctx)
}

func (v nodesView) List(context.Context) ([]fleet.Node, error) {
	var list []fleet.Node
	v.world.cluster.mu.Lock()
	defer v.world.cluster.mu.Unlock()
	for _, d := range v.world.cluster.nodes {
		if d.forgotten {
			continue
		}
		known := fleet.Node{Name: d.node.Name, Endpoint: d.node.Endpoint, Address: d.node.Address, Labels: d.node.Labels, Draining: d.node.Draining}
		list = append(list, fleet.StoredNode{Node: known, Joined: d.joined}.Unheard())
	}
	return list, nil
}
func (v nodesView) Info(ctx context.Context, node string) (fleet.Node, error) {
	return at(ctx, v.process, node, ask, func(d *fakeDocker) (fleet.Node, error) {
		if err := d.trip("info", d.node.Name); err != nil {
			return fleet.Node{}, err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		told := d.node
		told.SeenAt = time.Now()
		return told, nil
	})
}

func (v routerView) Check(spec fleet.Spec, others []fleet.Spec) ([]string, error) {
	return v.world.edge.check(spec, others)
}
func (v routerView) Port(spec fleet.Spec, exposed []int) (int, error) {
	switch {
	case spec.Route != nil && spec.Route.Port != 0:
		return spec.Route.Port, nil
	case len(exposed) == 1:
		return exposed[0], nil
	}
	return 0, nil
}
func (v routerView) Labels(fleet.Spec, int) map[string]string { return nil }
func (v routerView) Publish(s *fleet.Snapshot) {
	if v.alive(true) == nil {
		v.world.edge.publish(s)
	}
}
func (v routerView) Confirmed(ctx context.Context, version uint64) (fleet.Confirmation, error) {
	if err := v.alive(false); err != nil {
		return fleet.Confirmation{}, err
	}
	return v.world.edge.confirmed(ctx, version)
}
func (v routerView) Certified(context.Context, []string) error { return nil }

func (p *process) LastRequest(service string) (time.Time, bool) {
	return p.world.edge.lastRequest(service)
}
func (p *process) Refresh(context.Context) error {
	if !p.world.edge.canCount() {
		return errors.New("an edge does not answer")
	}
	return nil
}
