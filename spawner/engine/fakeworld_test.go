package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

const (
	fakeFleet = "test"
	patience  = 10 * time.Minute // of a test with what must happen, in fake time
)

// world is all that surrounds an engine, and the engine itself.
type world struct {
	t       testing.TB
	ctx     context.Context
	docker  *fakeDocker // the first node
	cluster *fakeCluster
	edge    *fakeEdge
	store   *sqlite.Store
	path    string // of the store
	process *process
	config  Config
	log     *slog.Logger
}

// inWorld runs a test in fake time, in a world whose engine runs and is ready.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctestWorld(t, func(*world) {}, test)
}

// synctestWorld is inWorld with a world that is prepared before the engine runs.
func synctestWorld(t *testing.T, prepare, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		prepare(w)
		w.start()
		defer w.end()
		test(w)
	})
}

func newWorld(t testing.TB) *world {
	t.Helper()
	level := slog.LevelError
	output := io.Discard
	if _, simulated := t.(*recordingTB); !simulated && os.Getenv("ENGINE_TEST_LOG") != "" {
		level, output = slog.LevelDebug, os.Stderr
	}
	w := &world{
		t: t, ctx: t.Context(), cluster: &fakeCluster{}, edge: newFakeEdge(),
		config: Config{FleetID: fakeFleet, Network: "traefiknet", SandboxImage: "sandbox:1", Workers: 10, QueueSize: 100},
		log:    slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level})),
	}
	w.cluster.edgeKnows = w.edge.knows
	w.docker = w.cluster.add("local")
	w.openStore(filepath.Join(t.TempDir(), "spawner.db"))
	return w
}

func (w *world) openStore(path string) {
	w.t.Helper()
	store, err := sqlite.Open(w.ctx, path, w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.path = store, path
}

func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	for _, wrong := range w.cluster.wrong {
		w.t.Error(wrong)
	}
}

// start begins a process over the same stores, containers and edges.
func (w *world) start() { w.startWithin(0) }

// startWithin begins a process that is killed at its limit-th change of anything; 0 = never.
func (w *world) startWithin(limit int) {
	w.t.Helper()
	p := &process{world: w, ran: make(chan error, 1), died: make(chan struct{}), limit: limit, changing: map[string]string{}}
	p.prober = &fakeProber{process: p, watched: map[string]context.CancelFunc{}}
	services := servicesView{p}
	p.engine = New(w.config, Ports{
		Containers: containersView{p}, Freezer: p, Images: imagesView{p}, Networks: networksView{p}, Stock: stockView{p}, Watcher: p, Shell: p,
		Services: services, Revisions: services, Addresses: addressesView{p}, Standings: standingsView{p}, Jobs: jobsView{p}, Events: eventsView{p}, Nodes: nodesView{p},
		Router: routerView{p}, Traffic: p, Prober: p.prober,
	}, w.log)
	w.process = p
	p.ctx, p.cancel = context.WithCancel(w.ctx)
	go func() { p.ran <- p.engine.Run(p.ctx) }()
	for p.engine.Ready() != nil && p.alive(false) == nil && len(p.ran) == 0 {
		time.Sleep(time.Millisecond)
	}
}

// stop ends the process as a signal does: what runs goes on running.
func (w *world) stop() {
	w.t.Helper()
	w.process.cancel()
	select {
	case err := <-w.process.ran:
		if err != nil && w.process.alive(false) == nil {
			w.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		w.t.Fatal("the engine does not end")
	}
	w.edge.restarted()
}

// kill ends the process at once and begins another.
func (w *world) kill() {
	w.process.kill()
	w.stop()
	w.start()
}

func (w *world) restart() {
	w.stop()
	w.start()
}

func (w *world) engine() *Engine { return w.process.engine }

// spec is a deploy body with a route; its image listens on 8080.
func (w *world) spec(name, image string, replicas int) fleet.Spec {
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image, spec.Replicas = name, image, replicas
	spec.Route = &fleet.Route{Hosts: []string{name + ".example.com"}}
	return spec
}

// deploy deploys and waits for the job's end.
func (w *world) deploy(spec fleet.Spec) fleet.Job {
	w.t.Helper()
	accepted, err := w.engine().Deploy(w.ctx, spec, "tester", false)
	if err != nil {
		w.t.Fatalf("Deploy: %v", err)
	}
	return w.wait(accepted)
}

// deployed is deploy that must succeed.
func (w *world) deployed(spec fleet.Spec) {
	w.t.Helper()
	if job := w.deploy(spec); job.State != fleet.JobSucceeded {
		w.t.Fatalf("the deploy %s: %s\n%s", job.State, job.Error, describeSteps(job))
	}
}

func (w *world) wait(accepted fleet.Accepted) fleet.Job {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	job, err := w.engine().WaitJob(ctx, accepted.JobID)
	if err != nil {
		w.t.Fatalf("WaitJob: %v\n%s", err, describeSteps(job))
	}
	return job
}

// done waits for a verb's job and returns it; the verb must have been accepted.
func (w *world) done(accepted fleet.Accepted, err error) fleet.Job {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("not accepted: %v", err)
	}
	return w.wait(accepted)
}

// succeeded is done for a job that must succeed.
func (w *world) succeeded(accepted fleet.Accepted, err error) {
	w.t.Helper()
	if job := w.done(accepted, err); job.State != fleet.JobSucceeded {
		w.t.Fatalf("%s %s: %s\n%s", job.Kind, job.State, job.Error, describeSteps(job))
	}
}

func describeSteps(job fleet.Job) string {
	lines := make([]string, len(job.Steps))
	for i, s := range job.Steps {
		lines[i] = fmt.Sprintf("  %s %s %s: %s", s.Verb, s.Replica, s.State, s.Detail)
	}
	return strings.Join(lines, "\n")
}

// until waits until the condition holds.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	began := time.Now()
	for !holds() {
		waited := time.Since(began)
		if waited > patience {
			w.t.Fatalf("waited in vain until %s\n%s", what, w.picture())
		}
		time.Sleep(min(max(time.Millisecond, waited/100), time.Second))
	}
}

func (w *world) status(name string) fleet.Status {
	service, err := w.engine().Service(name)
	if err != nil {
		return ""
	}
	return service.Status
}

func (w *world) untilStatus(name string, status fleet.Status) {
	w.t.Helper()
	w.until(fmt.Sprintf("%s is %s", name, status), func() bool { return w.status(name) == status })
}

// containers are the fleet's containers as "name status revision", by name.
func (w *world) containers() []string {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	var list []string
	for _, b := range w.cluster.boxes() {
		where := ""
		if len(w.cluster.nodes) > 1 {
			where = b.node.node.Name + "/"
		}
		list = append(list, fmt.Sprintf("%s%s %s rev %s", where, b.name, b.status, b.config.Labels[fleet.LabelRevision]))
	}
	slices.Sort(list)
	return list
}

// picture is everything that helps to see what went wrong.
func (w *world) picture() string {
	var b strings.Builder
	for _, line := range w.containers() {
		fmt.Fprintln(&b, line)
	}
	for _, s := range w.engine().Services() {
		why, _ := w.engine().Why(s.Name)
		fmt.Fprintf(&b, "%+v\n%+v\n", s, why)
	}
	for _, r := range w.engine().Snapshot().Services {
		fmt.Fprintf(&b, "published %s rev %d: %v\n", r.Name, r.Revision, r.Endpoints)
	}
	return b.String()
}

// endpoints are those that are published for a service now.
func (w *world) endpoints(name string) []fleet.Endpoint {
	routed, ok := w.engine().Snapshot().Find(name)
	if !ok {
		return nil
	}
	return routed.Endpoints
}

// request sends one request that takes so long, as a client does: to the edge,
// and down the wake leg when that has no replica. It returns the container that answered.
func (w *world) request(name string, takes time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if endpoint, ok := w.edge.endpoint(name); ok {
		if conn, ok := w.docker.dialAt(endpoint.Addr); ok {
			return w.exchange(name, conn, takes)
		}
	}
	e := w.engine()
	defer e.Hold(name)()
	for {
		endpoint, err := e.WakeForRequest(ctx, name, "a request")
		if err != nil {
			return "", err
		}
		if conn, ok := w.docker.dialAt(endpoint.Addr); ok {
			return w.exchange(name, conn, takes)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) exchange(name string, conn *fakeConn, takes time.Duration) (string, error) {
	if service := conn.app.config.Labels[fleet.LabelService]; service != name {
		return "", fmt.Errorf("%s answered for %s", service, name)
	}
	if takes > 0 {
		time.Sleep(takes)
	}
	if !conn.close() {
		return "", fmt.Errorf("%s ended with a request in flight", conn.app.name)
	}
	return conn.app.name, nil
}

// behave says what the apps of an image do from now on, on any node.
func (w *world) behave(image string, how behaviour) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	for _, d := range w.cluster.nodes {
		d.apps[image] = how
	}
}

// behaveAs says what one app does, by its container's name; the zero value: as the others of its image.
func (w *world) behaveAs(name string, how behaviour) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	for _, d := range w.cluster.nodes {
		d.byName[name] = how
		if how == (behaviour{}) {
			delete(d.byName, name)
		}
	}
}

// flaw lets calls to the engine of containers fail; nil = none.
func (w *world) flaw(fault func(verb, name string) error) {
	w.docker.flaw(fault)
}

// removeByHand removes a container behind the engine's back.
func (w *world) removeByHand(name string) {
	w.docker.mu.Lock()
	b := w.docker.named(name)
	w.docker.mu.Unlock()
	if b != nil {
		w.docker.remove(w.ctx, b.id)
	}
}

// crash ends an app with a code.
func (w *world) crash(name string, code int) {
	w.docker.mu.Lock()
	defer w.docker.mu.Unlock()
	if b := w.docker.named(name); b != nil {
		w.docker.endLocked(b, b.life, code)
	}
}

func addressOf(e fleet.Endpoint) netip.Addr { return e.Addr.Addr() }
