package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgespawner/fleet"
	"edgespawner/probes"
)

// Config is what an engine is told of the installation.
type Config struct {
	FleetID      string
	OwnNode      string       // the node whose engine the spawner itself is configured with
	Network      string       // the fleet's own network, on each node
	Subnet       netip.Prefix // of that network, if it has to be made; zero = the first that is free
	SandboxImage string
	// SandboxRootFS opens the tar archive from which the sandbox's image is made
	// on a node that does not have it. Nil = the image must be there.
	SandboxRootFS func() (io.ReadCloser, error)
	MaxStarts     int             // starts at a time on each node; 0 = one per core
	Workers       int             // jobs at a time
	QueueSize     int             // jobs that wait
	PullTimeout   time.Duration   // of one step pull with all its attempts; 0 = none
	Ports         fleet.PortRange // given to replicas that edges reach by ports of their nodes
	Failure       FailureLimits   // how soon a silent node is given up
	Checks        probes.Defaults
	// Settled waits until the edges that were known before this start are back
	// or lost; until then nothing is put to sleep. Nil = there is nothing to wait for.
	Settled func(ctx context.Context) error
	// Observer is told what happens. Nil = nobody is.
	Observer Observer
}

// Ports are the engine's ways to the world.
type Ports struct {
	Containers Containers
	Freezer    Freezer
	Images     Images
	Networks   Networks
	Stock      Stock
	Watcher    Watcher
	Shell      Shell
	Services   Services
	Revisions  Revisions
	Addresses  Addresses
	Standings  Standings
	Jobs       Jobs
	Events     Events
	Nodes      Nodes
	Router     Router
	Traffic    Traffic
	Prober     Prober
}

// Engine carries out the verbs.
type Engine struct {
	config     Config
	log        *slog.Logger
	containers Containers
	freezer    Freezer
	images     Images
	nets       Networks
	stock      Stock
	watcher    Watcher
	shell      Shell
	services   Services
	revisions  Revisions
	addresses  Addresses
	jobs       Jobs
	nodes      Nodes
	router     Router
	traffic    Traffic
	prober     Prober
	checks     probes.Defaults
	observer   Observer

	board      *board
	recorder   *recorder
	saver      *saver
	standings  *standings
	queue      *queue
	networks   networks
	names      names
	sandboxes  users
	imports    *turns // of the sandbox's image, one at a time on a node
	foundlings foundlings
	starts     *turns // of apps
	looks      *turns // at connections
	accepted   acceptedSpecs
	members    members
	ledger     *ledger

	life      context.Context // ends with cause errShutdown when Run returns
	end       context.CancelCauseFunc
	group     sync.WaitGroup // every goroutine that lives with the engine
	ready     atomic.Bool
	loaded    chan struct{} // closes when ready becomes true
	adopted   chan struct{} // closes when what was found at the start has been taken up
	settled   atomic.Bool
	following atomic.Int64 // readers of logs that are told each line as it is written
	accepting sync.Mutex   // held from the check of a deploy against others until it is stored

	mu     sync.RWMutex
	actors map[string]*actor
}

// New makes an engine; Run starts it.
func New(config Config, ports Ports, log *slog.Logger) *Engine {
	config.Failure = config.Failure.orDefaults()
	e := &Engine{
		config: config, log: log,
		containers: ports.Containers, freezer: ports.Freezer, images: ports.Images, nets: ports.Networks, stock: ports.Stock,
		watcher: ports.Watcher, shell: ports.Shell, services: ports.Services, revisions: ports.Revisions,
		addresses: ports.Addresses, jobs: ports.Jobs, nodes: ports.Nodes, router: ports.Router,
		traffic: ports.Traffic, prober: ports.Prober, checks: config.Checks, observer: config.Observer,
		actors: map[string]*actor{}, loaded: make(chan struct{}), adopted: make(chan struct{}),
		members: members{of: map[string]*member{}}, ledger: newLedger(),
	}
	if e.observer == nil {
		e.observer = nobody{}
	}
	e.life, e.end = context.WithCancelCause(context.Background())
	e.board = newBoard(ports.Router.Publish)
	e.recorder = newRecorder(ports.Events, e.observer, log)
	e.saver = newSaver(ports.Services, log)
	e.standings = newStandings(ports.Standings, log)
	e.queue = newQueue(e, config.Workers, config.QueueSize)
	e.networks = networks{engine: e, users: users{of: map[string]map[*replica]bool{}}, turns: newTurns(oneAtATime), joins: newTurns(oneAtATime)}
	e.names = names{taken: map[string]bool{}}
	e.sandboxes = users{of: map[string]map[*replica]bool{}}
	e.foundlings = foundlings{since: map[string]map[string]time.Time{}}
	e.imports = newTurns(oneAtATime)
	e.looks, e.starts = newTurns(e.startLimit), newTurns(e.startLimit)
	e.accepted = acceptedSpecs{specs: map[string]*fleet.Spec{}}
	return e
}

// Run takes up what is stored and what runs, keeps the services as they should
// be until ctx ends, and leaves running what runs. What it starts it waits for.
func (e *Engine) Run(ctx context.Context) error {
	var stores sync.WaitGroup
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	stores.Go(func() { e.recorder.run(storing) })
	stores.Go(func() { e.saver.run(storing) })
	stores.Go(func() { e.standings.run(storing) })
	defer stores.Wait()
	defer stopStoring()

	err := e.takeUp(ctx)
	if err == nil {
		e.ready.Store(true)
		close(e.loaded)
		e.log.Info("Ready", "services", len(e.actorList()))
		e.group.Go(func() { e.settle(ctx) })
		<-ctx.Done()
	}
	e.ready.Store(false)
	e.Park()
	e.mu.Lock()
	e.end(errShutdown) // nothing is spawned any more
	e.mu.Unlock()
	e.group.Wait()
	return err
}

// spawn runs what lives with the engine, on behalf of a caller who does not;
// false when the engine is ending.
func (e *Engine) spawn(what func()) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.life.Err() != nil {
		return false
	}
	e.group.Go(what)
	return true
}

// endOfActor says why an actor ended.
func (e *Engine) endOfActor() error {
	if e.life.Err() != nil {
		return errShutdown
	}
	return errRemoved
}

// Ready is nil once the state is loaded and every node that answers was listed.
func (e *Engine) Ready() error {
	if !e.ready.Load() {
		return fleet.Errorf(fleet.Unavailable, "the state is being loaded")
	}
	return nil
}

// Loaded closes once Ready is nil for the first time: before, no service is known.
func (e *Engine) Loaded() <-chan struct{} { return e.loaded }

// settle waits for the edges that were known before: until they are back,
// nothing is put to sleep.
func (e *Engine) settle(ctx context.Context) {
	if e.config.Settled != nil {
		if err := e.config.Settled(ctx); err != nil {
			return // ctx ended
		}
	}
	e.settled.Store(true)
}

func (e *Engine) tooEarlyToSleep() bool { return !e.settled.Load() }

// background is a context for work that outlives who asked for it and ends with the engine.
func (e *Engine) background(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.life, limit)
}

func (e *Engine) record(event fleet.Event) { e.recorder.record(event) }

// Events lists recorded events.
func (e *Engine) Events(ctx context.Context, filter fleet.EventFilter) ([]fleet.Event, error) {
	return e.recorder.store.List(ctx, filter)
}

// FollowEvents sends the stored events that the filter asks for, then each new
// one, and says after which id it begins. The channel closes when ctx or the
// engine ends, or when the store cannot be read.
func (e *Engine) FollowEvents(ctx context.Context, filter fleet.EventFilter) (from int64, events <-chan fleet.Event, err error) {
	return e.recorder.follow(ctx, filter)
}

// Record stores an event that another part of the spawner saw.
func (e *Engine) Record(event fleet.Event) { e.record(event) }

func (e *Engine) actor(name string) (*actor, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	a, ok := e.actors[name]
	return a, ok
}

// actorFor returns the service's actor, and begins one for a new service.
func (e *Engine) actorFor(desired fleet.Desired) *actor {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.actors[desired.Name]; ok {
		return a
	}
	a := newActor(e, desired)
	e.actors[desired.Name] = a
	if e.life.Err() != nil {
		close(a.ended)
		return a
	}
	e.group.Go(func() { a.loop(e.life) })
	return a
}

func (e *Engine) forgetActor(a *actor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.actors[a.name] == a {
		delete(e.actors, a.name)
	}
}

// actorList returns the actors by name.
func (e *Engine) actorList() []*actor {
	e.mu.RLock()
	defer e.mu.RUnlock()
	list := make([]*actor, 0, len(e.actors))
	for _, a := range e.actors {
		list = append(list, a)
	}
	slices.SortFunc(list, func(x, y *actor) int { return strings.Compare(x.name, y.name) })
	return list
}

func (e *Engine) startLimit(node string) int {
	if e.config.MaxStarts > 0 {
		return e.config.MaxStarts
	}
	if m, ok := e.members.get(node); ok {
		return max(1, m.look().CPUs)
	}
	return 1
}

// closed is the beginning of a replica that nobody has started.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// newReplica makes a replica without containers at the place that is held for it;
// its driver is not started.
func (e *Engine) newReplica(a *actor, index int, place *claim, print *blueprint, publish bool) *replica {
	node := place.node
	r := &replica{
		service: a.name, index: index, node: node, place: place, print: print, engine: e, publish: publish,
		log:    a.log.With("replica", fleet.ReplicaName(a.name, index), "node", node),
		signal: make(chan struct{}, 1), ended: make(chan struct{}), state: stateDown, beginning: closed, care: care{pending: noneDue},
	}
	r.report = func(r *replica, what report) { a.post(func() { a.received(r, what) }) }
	return r
}

// remake makes a replica anew, from the blueprint of one whose containers are gone.
func (e *Engine) remake(a *actor, old *replica) *replica {
	r := e.newReplica(a, old.index, e.ledger.hold(old.node, old.print.spec, old.index), old.print, old.publish)
	e.group.Go(func() { r.drive(e.life) })
	return r
}

// share joins the sandbox of the replica that r replaces.
func (r *replica) share(with *replica) {
	v := with.look()
	r.fixedAddress = with.fixedAddress
	r.holdSandbox(v.sandbox)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.address, r.published, r.reach = v.address, v.published, v.reach
}

// ensureSandboxImage brings the sandbox's image to the node.
func (e *Engine) ensureSandboxImage(ctx context.Context, node string) error {
	release, err := e.imports.acquire(ctx, node) // two imports would be two images
	if err != nil {
		return fmt.Errorf("cannot look for the sandbox's image: %w", err)
	}
	defer release()
	_, err = e.images.Ensure(ctx, node, e.config.SandboxImage, fleet.PullNever)
	if err == nil {
		return nil
	}
	if fleet.KindOf(err) != fleet.NotFound || e.config.SandboxRootFS == nil {
		return fmt.Errorf("cannot find the sandbox's image: %w", err)
	}
	archive, err := e.config.SandboxRootFS()
	if err != nil {
		return fmt.Errorf("cannot open the sandbox's program: %w", err)
	}
	_, err = e.images.Import(ctx, node, e.config.SandboxImage, archive, []string{"/sandbox"})
	if err := errors.Join(err, archive.Close()); err != nil {
		return fmt.Errorf("cannot make the sandbox's image: %w", err)
	}
	return nil
}
