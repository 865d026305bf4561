package docker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"

	"edgespawner/fleet"
)

// callTimeout bounds every call that has no bound of its own. An inspect
// blocks until a start under way ends, so it is not short.
const callTimeout = 60 * time.Second

// settleTimeout bounds the first word with an engine.
const settleTimeout = 10 * time.Second

// Pool holds a client for each node. Its methods and those of its views may be
// called at the same time from anywhere.
type Pool struct {
	fleetID   string
	log       *slog.Logger
	loginFile string // of docker login; empty = no credentials
	bounds    bounds
	observe   func(Call) // nil = nobody is told

	ctx    context.Context // of the calls that outlive their callers
	cancel context.CancelFunc
	calls  sync.WaitGroup

	transfers transfers

	mu    sync.RWMutex
	nodes map[string]*node
}

// bounds are the times that a test must be able to shorten.
type bounds struct {
	start    time.Duration // of a start
	fallback time.Duration // until a registry says something while a local image would do
	pull     time.Duration // until it does when nothing else has the image
	check    time.Duration // for a registry's answer that a person waits for
}

// defaultBounds: a start on an overlay without quorum fails after 20 s; an
// engine's own patience with a registry is minutes.
var defaultBounds = bounds{start: 60 * time.Second, fallback: 5 * time.Second, pull: 30 * time.Second, check: 10 * time.Second}

// node is one engine and what is remembered of it.
type node struct {
	name     string
	endpoint string
	base     string // URL that a raw request begins with
	client   *client.Client
	tunnel   *tunnel      // of an ssh:// endpoint; else nil
	settled  atomic.Bool  // the API version is negotiated
	heard    atomic.Int64 // when it last answered, in nanoseconds since 1970; 0 = not yet
	inSwarm  atomic.Bool  // it is in a swarm of Docker, as it last said
	silence  silence      // registries that lately could not be reached
	lease    leaseState
}

// New makes a Pool without nodes for the installation with that id.
func New(fleetID string, log *slog.Logger) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		fleetID: fleetID, log: log, loginFile: defaultLoginFile(), bounds: defaultBounds,
		ctx: ctx, cancel: cancel, nodes: make(map[string]*node), transfers: transfers{way: make(map[transfer]chan struct{})},
	}
}

// Add makes the client of a node, and replaces the one of that name. It does
// not ask the engine: one that is silent now is a node all the same. The error
// is Invalid for an endpoint or certificates that cannot be used.
func (p *Pool) Add(n fleet.Node, options ...DialOption) error {
	made, err := dial(n, options...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.nodes[n.Name]
	if old != nil && old.endpoint == made.endpoint {
		made.heard.Store(old.heard.Load())
		made.inSwarm.Store(old.inSwarm.Load())
	}
	p.nodes[n.Name] = made
	p.mu.Unlock()
	p.letGo(old)
	return nil
}

// Remove forgets a node; nothing on its engine is touched.
func (p *Pool) Remove(name string) {
	p.mu.Lock()
	old := p.nodes[name]
	delete(p.nodes, name)
	p.mu.Unlock()
	p.letGo(old)
}

// letGo closes the connections of a node that is one no more; nil = there was none.
func (p *Pool) letGo(old *node) {
	if old == nil {
		return
	}
	if err := old.close(); err != nil {
		p.log.Debug("Cannot close a connection", "node", old.name, "error", err)
	}
}

// Close ends the calls that outlive their callers, waits for them, and closes
// the connections. Watches end with their own contexts.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.cancel() // no call begins after this
	p.mu.Unlock()
	p.calls.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, n := range p.nodes {
		errs = append(errs, n.close())
	}
	clear(p.nodes)
	return errors.Join(errs...)
}

// close lets the connections of a node go.
func (n *node) close() error {
	err := n.client.Close()
	if n.tunnel != nil {
		err = errors.Join(err, n.tunnel.close())
	}
	return err
}

// node returns the node of that name.
func (p *Pool) node(name string) (*node, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if n, ok := p.nodes[name]; ok {
		return n, nil
	}
	return nil, fleet.Errorf(fleet.Unavailable, "node %q is not known", name)
}

// engine returns the node of that name, its API version settled: the SDK reads
// the version without a lock, so nothing may be asked before.
func (p *Pool) engine(ctx context.Context, name string) (*node, error) {
	n, err := p.node(name)
	if err != nil || n.settled.Load() {
		return n, err
	}
	bounded, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if _, err := n.client.ServerVersion(bounded); err != nil {
		return nil, translate(ctx, n, "reach the engine", err)
	}
	n.settled.Store(true)
	return n, nil
}

// ask runs one call on a node's engine within the upper bound, and gives its
// error the words of the call: verb and subject, as in "create container web-0".
func (p *Pool) ask(ctx context.Context, nodeName, verb string, call func(context.Context, *node) error) error {
	return p.askWithin(ctx, callTimeout, nodeName, verb, call)
}

func (p *Pool) askWithin(ctx context.Context, bound time.Duration, nodeName, verb string, call func(context.Context, *node) error) (err error) {
	defer p.observed(nodeName, verb, time.Now(), &err)
	n, err := p.engine(ctx, nodeName)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	err = translate(ctx, n, verb, call(bounded, n))
	n.listened(err)
	return err
}

// listened notes that the engine has done what it was asked for.
func (n *node) listened(err error) {
	if err == nil {
		n.heard.Store(time.Now().UnixNano())
	}
}

// Heard is when a node's engine last answered; zero = it has not yet, or is not
// known. One that is followed is asked each second.
func (p *Pool) Heard(name string) time.Time {
	n, err := p.node(name)
	if err != nil || n.heard.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, n.heard.Load()).UTC()
}

// errEnding is a call after Close.
var errEnding = fleet.Errorf(fleet.Unavailable, "the spawner is ending")

// detach runs a call that goes on when its caller leaves; the caller then gets
// its context's error. The call's own context ends after the bound, or when
// the pool is closed.
func (p *Pool) detach(ctx context.Context, bound time.Duration, call func(context.Context) error) error {
	ended := make(chan error, 1)
	if !p.begin(func() {
		own, cancel := context.WithTimeout(p.ctx, bound)
		defer cancel()
		ended <- call(own)
	}) {
		return errEnding
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin runs a call that Close waits for; false once the pool is being closed.
func (p *Pool) begin(call func()) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.calls.Go(call)
	return true
}
