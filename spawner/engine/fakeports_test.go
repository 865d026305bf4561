package engine

import (
	"context"
	"errors"
	"io"
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
	cancel context.CancelFunc
	prober *fakeProber
	ran    chan error // Run's result

	mu    sync.Mutex
	calls int           // that change something
	limit int           // the call with this number kills the process; 0 = none
	dead  bool          //
	died  chan struct{} // closed when it is killed
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
	servicesView   struct{ *process }
	addressesView  struct{ *process }
	jobsView       struct{ *process }
	eventsView     struct{ *process }
	nodesView      struct{ *process }
	routerView     struct{ *process }
)

func (v containersView) Create(_ context.Context, _ string, c fleet.ContainerConfig) (string, error) {
	return change1(v.process, func() (string, error) { return v.world.docker.create(c) })
}
func (v containersView) Start(ctx context.Context, _, id string) error {
	return do(v.process, func() error { return v.world.docker.start(ctx, id) })
}
func (v containersView) Stop(ctx context.Context, _, id string, grace time.Duration) error {
	return do(v.process, func() error { return v.world.docker.stop(ctx, id, grace) })
}
func (v containersView) Remove(ctx context.Context, _, id string) error {
	return do(v.process, func() error { return v.world.docker.remove(ctx, id) })
}
func (v containersView) Inspect(ctx context.Context, _, id string) (fleet.Container, error) {
	return ask(v.process, func() (fleet.Container, error) { return v.world.docker.inspect(ctx, id) })
}
func (v containersView) List(context.Context, string) ([]fleet.Container, error) {
	return ask(v.process, v.world.docker.list)
}

func (p *process) Pause(_ context.Context, _, id string) error {
	return do(p, func() error { return p.world.docker.pause(id) })
}
func (p *process) Unpause(_ context.Context, _, id string) error {
	return do(p, func() error { return p.world.docker.unpause(id) })
}
func (p *process) Watch(ctx context.Context, _ string) <-chan fleet.Notice {
	return p.world.docker.watch(ctx)
}
func (p *process) Exec(_ context.Context, _, id string, _ []string) (fleet.ExecResult, error) {
	return ask(p, func() (fleet.ExecResult, error) { return p.world.docker.exec(id) })
}
func (p *process) Logs(ctx context.Context, _, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	return p.world.docker.logs(ctx, id, o, line)
}

func (v imagesView) Ensure(_ context.Context, _, ref string, _ fleet.PullPolicy) (fleet.Image, error) {
	return ask(v.process, func() (fleet.Image, error) { return v.world.docker.image(ref) })
}
func (v imagesView) Check(_ context.Context, _, ref string, _ fleet.PullPolicy) error {
	_, err := ask(v.process, func() (fleet.Image, error) { return v.world.docker.image(ref) })
	return err
}
func (v imagesView) Import(_ context.Context, _, ref string, rootfs io.Reader, _ []string) (fleet.Image, error) {
	return change1(v.process, func() (fleet.Image, error) { return v.world.docker.import_(ref, rootfs) })
}

func (v networksView) Find(_ context.Context, _, name string) (fleet.Network, error) {
	d := v.world.docker
	d.mu.Lock()
	defer d.mu.Unlock()
	n, there := d.networks[name]
	if !there {
		return fleet.Network{}, fleet.Errorf(fleet.NotFound, "no network %s", name)
	}
	return n, nil
}
func (v networksView) Create(_ context.Context, _ string, c fleet.NetworkConfig) (fleet.Network, error) {
	return change1(v.process, func() (fleet.Network, error) {
		d := v.world.docker
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
		return n, nil
	})
}
func (v networksView) Remove(_ context.Context, _, name string) error {
	return do(v.process, func() error {
		d := v.world.docker
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.networks, name)
		return nil
	})
}
func (v networksView) Connect(context.Context, string, string, string) error    { return nil }
func (v networksView) Disconnect(context.Context, string, string, string) error { return nil }
func (v networksView) Attendants(context.Context, string) ([]fleet.Container, error) {
	return nil, nil
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
func (v addressesView) Release(ctx context.Context, holder string) error {
	return do(v.process, func() error { return v.store().Release(ctx, holder) })
}
func (v addressesView) Claim(ctx context.Context, l fleet.Lease) error {
	return do(v.process, func() error { return v.store().Claim(ctx, l) })
}
func (v addressesView) Holders(ctx context.Context) ([]fleet.Lease, error) {
	return ask(v.process, func() ([]fleet.Lease, error) { return v.store().Holders(ctx) })
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

func (v nodesView) List(context.Context) ([]fleet.Node, error) {
	return []fleet.Node{{Name: "local", State: fleet.NodeReady, CPUs: 2, MemoryMB: 4096}}, nil
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
