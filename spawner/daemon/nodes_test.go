package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/sqlite"
)

// engineOf answers as a Docker engine of that id; it has no containers.
func engineOf(t *testing.T, id, api string) (endpoint string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Api-Version", api)
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			w.Write([]byte(`{"Version":"20.10","ApiVersion":"` + api + `"}`))
		case strings.HasSuffix(r.URL.Path, "/info"):
			w.Write([]byte(`{"ID":"` + id + `","NCPU":2,"MemTotal":1073741824,"ServerVersion":"20.10"}`))
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			w.Write([]byte("OK"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

// followed notes what the engine is told of nodes.
type followed struct {
	told []string
	err  error
}

func (f *followed) tell(what string) error {
	f.told = append(f.told, what)
	return f.err
}

func (f *followed) AddNode(_ context.Context, node fleet.Node) error {
	return f.tell("add " + node.Name)
}

func (f *followed) UpdateNode(_ context.Context, node fleet.Node) error {
	return f.tell("update " + node.Name)
}

func (f *followed) RemoveNode(_ context.Context, name string, force bool) error {
	if force {
		return f.tell("force " + name)
	}
	return f.tell("remove " + name)
}

func (f *followed) DrainNode(_ context.Context, name string) error { return f.tell("drain " + name) }

func (f *followed) ResumeNode(_ context.Context, name string) error { return f.tell("resume " + name) }

// installation is a state directory with nodes in it.
type installation struct {
	dir    string
	follow *followed
	leases *fakeLeases
	events []string
	gone   []string
	nodes  *nodes
}

// openNodes opens the nodes of a state directory, as a start of the spawner does.
func openNodes(t *testing.T, dir, own string) *installation {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "spawner.db"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	pool := docker.New("f1", quiet)
	t.Cleanup(func() { pool.Close() })
	i := &installation{dir: dir, follow: &followed{}}
	i.nodes = &nodes{
		changing: make(chan struct{}, 1),
		pool:     pool, store: store.Nodes(), vault: &vault{path: keyFile(dir)}, follow: i.follow, log: quiet,
		record: func(e fleet.Event) { i.events = append(i.events, e.Message) },
		gone:   func(node string) { i.gone = append(i.gone, node) },
	}
	i.leases = &fakeLeases{answers: []leaseAnswer{ours}}
	i.nodes.leases = &nodeLeases{leases: i.leases, owner: "us", names: i.nodes.others, log: quiet}
	i.nodes.swarm = &swarmKeeper{swarm: pool.Swarm(), info: pool.Info, own: "local", attend: attendsAt("10.9.0.2/16"), nodes: i.nodes.joined, record: i.nodes.record, log: quiet}
	if err := i.nodes.load(t.Context(), fleet.StoredNode{Node: fleet.Node{Name: "local", Endpoint: own}}, nil); err != nil {
		t.Fatal(err)
	}
	return i
}

// reopen opens the same state directory anew.
func (i *installation) reopen(t *testing.T) *installation {
	return openNodes(t, i.dir, i.nodes.known["local"].Endpoint)
}

func (i *installation) list(t *testing.T) map[string]fleet.Node {
	t.Helper()
	list, err := i.nodes.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]fleet.Node{}
	for _, node := range list {
		byName[node.Name] = i.nodes.ask(t.Context(), node.Name)
	}
	return byName
}

func refused(t *testing.T, err error, kind fleet.Kind, field, words string) {
	t.Helper()
	var e *fleet.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Field != field || !strings.Contains(e.Message, words) {
		t.Errorf("got %v, want %s of field %q with %q", err, kind, field, words)
	}
}

func TestANodeThatJoinedIsThereAfterARestart(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	endpoint := engineOf(t, "E2", "1.47")
	spec := fleet.NodeSpec{Name: "n2", Endpoint: endpoint, Address: "10.0.0.2", Labels: map[string]string{"zone": "b"}}
	node, err := i.nodes.AddNode(t.Context(), spec, "me")
	if err != nil || node.EngineID != "E2" || node.CPUs != 2 || node.State != fleet.NodeReady {
		t.Fatalf("got %+v, %v", node, err)
	}
	if err := i.nodes.DrainNode(t.Context(), "n2", "me"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(i.follow.told, []string{"add n2", "drain n2"}) || len(i.events) != 2 {
		t.Errorf("told %q, events %q", i.follow.told, i.events)
	}
	got := i.reopen(t).list(t)["n2"]
	if got.State != fleet.NodeReady || !got.Draining || got.Address != "10.0.0.2" || got.Labels["zone"] != "b" || got.EngineID != "E2" {
		t.Errorf("got %+v", got)
	}
}

func TestAnEngineThatMayNotJoinChangesNothing(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: engineOf(t, "E2", "1.41")}, "me"); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(i.follow.told)
	for name, c := range map[string]struct {
		spec         fleet.NodeSpec
		kind         fleet.Kind
		field, words string
	}{
		"the spawner's own, again": {fleet.NodeSpec{Name: "n3", Endpoint: engineOf(t, "E1", "1.41")}, fleet.Conflict, "endpoint", "is a node already: local"},
		"one that was added":       {fleet.NodeSpec{Name: "n3", Endpoint: engineOf(t, "E2", "1.41")}, fleet.Conflict, "endpoint", "is a node already: n2"},
		"a name that is taken":     {fleet.NodeSpec{Name: "n2", Endpoint: engineOf(t, "E3", "1.41")}, fleet.Conflict, "name", "there is a node"},
		"the own node's name":      {fleet.NodeSpec{Name: "local", Endpoint: engineOf(t, "E3", "1.41"), Update: true}, fleet.Conflict, "name", "spawner's own"},
		"an update by another":     {fleet.NodeSpec{Name: "n2", Endpoint: engineOf(t, "E3", "1.41"), Update: true}, fleet.Conflict, "endpoint", "another engine"},
		"one too old":              {fleet.NodeSpec{Name: "n3", Endpoint: engineOf(t, "E3", "1.40")}, fleet.Invalid, "endpoint", "too old"},
		"plain TCP elsewhere":      {fleet.NodeSpec{Name: "n3", Endpoint: "tcp://192.0.2.1:2375"}, fleet.Invalid, "endpoint", "whoever reaches that port is root"},
		"one that is not there":    {fleet.NodeSpec{Name: "n3", Endpoint: "unix:///nowhere/docker.sock"}, fleet.Unavailable, "endpoint", "no Docker socket"},
		"a certificate's rubbish":  {fleet.NodeSpec{Name: "n3", Endpoint: engineOf(t, "E3", "1.41"), TLS: &fleet.NodeTLS{CA: "rubbish"}}, fleet.Invalid, "tls.ca", "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.nodes.AddNode(t.Context(), c.spec, "me")
			refused(t, err, c.kind, c.field, c.words)
		})
	}
	if got := slices.Sorted(maps.Keys(i.reopen(t).list(t))); !slices.Equal(got, []string{"local", "n2"}) || !slices.Equal(i.follow.told, before) || len(i.events) != 1 {
		t.Errorf("nodes %q, told %q, events %q", got, i.follow.told, i.events)
	}
}

func TestANodeThatTheEngineDoesNotLetGoStays(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: engineOf(t, "E2", "1.41")}, "me"); err != nil {
		t.Fatal(err)
	}
	i.follow.err = fleet.Errorf(fleet.Conflict, "node n2 has 3 replicas")
	refused(t, i.nodes.RemoveNode(t.Context(), "n2", false, "me"), fleet.Conflict, "", "3 replicas")
	if _, there := i.list(t)["n2"]; !there {
		t.Error("it is gone")
	}
	if len(i.gone) > 0 {
		t.Errorf("gone, by what is told: %v", i.gone)
	}
	i.follow.err = nil
	if err := i.nodes.RemoveNode(t.Context(), "n2", true, "me"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(i.gone, []string{"n2"}) {
		t.Errorf("gone, by what is told: %v", i.gone)
	}
	if _, there := i.reopen(t).list(t)["n2"]; there {
		t.Error("it is still there")
	}
	refused(t, i.nodes.RemoveNode(t.Context(), "n2", true, "me"), fleet.NotFound, "", "no node")
	refused(t, i.nodes.RemoveNode(t.Context(), "local", true, "me"), fleet.Conflict, "", "own node")
}

// followedAway is an engine whose caller leaves as it lets a node go.
type followedAway struct {
	*followed
	leave func()
}

func (f followedAway) RemoveNode(ctx context.Context, name string, force bool) error {
	f.leave()
	return f.followed.RemoveNode(ctx, name, force)
}

func TestANodeThatTheEngineHasLetGoIsForgottenAlsoIfItsCallerHasLeft(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: engineOf(t, "E2", "1.41")}, "me"); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	i.nodes.follow = followedAway{i.follow, leave}
	if err := i.nodes.RemoveNode(ctx, "n2", true, "me"); err != nil {
		t.Error(err)
	}
	if _, there := i.reopen(t).list(t)["n2"]; there {
		t.Error("it is still stored, and nobody follows it")
	}
}

func TestALostKeySilencesOnlyTheNodesThatNeedItAndAnUpdateMendsThem(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	server, material := tlsEngine(t, "E2")
	secret := fleet.NodeSpec{Name: "n2", Endpoint: server, TLS: &material}
	if _, err := i.nodes.AddNode(t.Context(), secret, "me"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n3", Endpoint: engineOf(t, "E3", "1.41")}, "me"); err != nil {
		t.Fatal(err)
	}
	if got := i.reopen(t).list(t)["n2"]; got.State != fleet.NodeReady {
		t.Errorf("with the key: %+v", got)
	}
	if data, err := os.ReadFile(filepath.Join(i.dir, "spawner.db-wal")); err != nil || strings.Contains(string(data), "PRIVATE KEY") {
		t.Errorf("the database shows the key: %v", err)
	}
	if err := os.Remove(keyFile(i.dir)); err != nil {
		t.Fatal(err)
	}
	lost := i.reopen(t)
	got := lost.list(t)
	if got["n2"].State != fleet.NodeSilent || !strings.Contains(got["n2"].Note, "is missing") || got["n3"].State != fleet.NodeReady {
		t.Errorf("without the key: %+v", got)
	}
	_, err := lost.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: server, Update: true}, "me")
	refused(t, err, fleet.Invalid, "", "give them again")
	secret.Update = true
	if _, err := lost.nodes.AddNode(t.Context(), secret, "me"); err != nil {
		t.Fatal(err)
	}
	if got := lost.list(t)["n2"]; got.State != fleet.NodeReady || got.Note != "" {
		t.Errorf("mended: %+v", got)
	}
	labelled := fleet.NodeSpec{Name: "n2", Endpoint: server, Labels: map[string]string{"zone": "c"}, Update: true}
	if _, err := lost.nodes.AddNode(t.Context(), labelled, "me"); err != nil {
		t.Errorf("an update that leaves the credentials as they are: %v", err)
	}
	if got := lost.reopen(t).list(t)["n2"]; got.State != fleet.NodeReady || got.Labels["zone"] != "c" {
		t.Errorf("mended, after a restart: %+v", got)
	}
}

func TestARestoredDatabaseSaysWhichNodesItsKeyFileDoesNotOpen(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	if got := KeyFile(i.dir); got != "" {
		t.Errorf("a key file that nobody needed: %s", got)
	}
	endpoint, material := tlsEngine(t, "E2")
	if _, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: endpoint, TLS: &material}, "me"); err != nil {
		t.Fatal(err)
	}
	if locked, err := LockedNodes(t.Context(), i.dir); err != nil || len(locked) > 0 || KeyFile(i.dir) == "" {
		t.Errorf("got %q, %v, key file %q", locked, err, KeyFile(i.dir))
	}
	if err := os.WriteFile(keyFile(i.dir), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if locked, err := LockedNodes(t.Context(), i.dir); err != nil || !slices.Equal(locked, []string{"n2"}) {
		t.Errorf("with another key: %q, %v", locked, err)
	}
}

func TestWhoWaitsForAnotherChangeOfNodesMayLeave(t *testing.T) {
	n := &nodes{changing: make(chan struct{}, 1)}
	done, err := n.turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := n.turn(left); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	done()
	if _, err := n.turn(t.Context()); err != nil {
		t.Errorf("after it has ended: %v", err)
	}
}
