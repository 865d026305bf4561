package stand

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgespawner/spawner/client"
	"edgespawner/test/lab"
)

// readyTime is how long a spawner and its edges may take to be ready.
const readyTime = 90 * time.Second

// Stand is one installation: a spawner, its edges, its fleet.
type Stand struct {
	t T

	FleetID string
	Network string
	Dir     string // of logs, state and generated files
	Suffix  string // makes names unique on the engine

	Spawner *Spawner
	Edges   []*Edge
	Client  *client.Client // as the admin
	ACME    *ACME          // nil unless WithACME
	Lab     *lab.Lab       // nil unless WithLab

	homes    []*home  // of the edges, by number; the spawner lives in the first. Empty without a lab
	forwards []func() // end what hands connections on between the homes
}

// Option changes what Start sets up.
type Option func(*options)

type options struct {
	edges    int
	flags    []string
	env      []string
	acme     string
	fleetID  string
	unserved bool
	boxed    bool
	lab      *lab.Options
}

// WithEdges starts n edges instead of one; 0 for none.
func WithEdges(n int) Option { return func(o *options) { o.edges = n } }

// WithFlags adds flags to `spawner serve`.
func WithFlags(flags ...string) Option {
	return func(o *options) { o.flags = append(o.flags, flags...) }
}

// WithEnv adds KEY=value to the spawner's environment.
func WithEnv(env ...string) Option { return func(o *options) { o.env = append(o.env, env...) } }

// WithACME starts a Pebble and lets the first edge get certificates from it, by
// the challenge "http" or "tls".
func WithACME(challenge string) Option { return func(o *options) { o.acme = challenge } }

// WithFleet uses this id instead of a new one.
func WithFleet(id string) Option { return func(o *options) { o.fleetID = id } }

// NotYet leaves the spawner and the edges down; the test starts them itself.
func NotYet() Option { return func(o *options) { o.unserved = true } }

// Start sets a stand up and waits until the spawner is ready and every edge has
// its first document. Everything goes away at the end of the test; when the
// test has failed, logs, events and containers are shown first.
func Start(t T, opts ...Option) *Stand {
	t.Helper()
	o := options{edges: 1}
	for _, option := range opts {
		option(&o)
	}
	root := Root(t)
	suffix := randomHex(t, 3)
	s := &Stand{t: t, Suffix: suffix, FleetID: "e2e-" + suffix, Network: "e2e-" + suffix}
	if o.fleetID != "" {
		s.FleetID = o.fleetID
	}
	dir, err := os.MkdirTemp("", "spawner-"+fileName(t.Name())+"-")
	must(t, err, "make a folder")
	s.Dir = dir
	t.Cleanup(s.takeDown)

	if o.lab != nil {
		s.startLab(*o.lab, o.edges)
	}
	if o.acme != "" {
		s.ACME = newACME(t, dir)
	}
	edgeToken := randomHex(t, 16)
	apiPort := FreePort(t)
	for i := range o.edges {
		edge := newEdge(t, s, fmt.Sprintf("edge%d", i), apiPort, edgeToken, s.home(i), o.boxed)
		if s.ACME != nil && i == 0 {
			edge.useACME(s.ACME, o.acme)
		}
		s.Edges = append(s.Edges, edge)
	}
	s.Spawner = newSpawner(t, s, root, apiPort, edgeToken, o)
	if s.Lab != nil {
		s.connectHomes(s.ports(apiPort))
	}
	if !o.unserved {
		s.StartAll()
	}
	if s.Lab != nil && !o.unserved {
		s.AddNodes()
	}
	return s
}

// StartAll starts what is down of ACME server, edges and spawner, and waits until they are ready.
func (s *Stand) StartAll() {
	s.t.Helper()
	if s.ACME != nil {
		s.ACME.start(s.Edges[0])
	}
	for _, edge := range s.Edges {
		if !edge.Running() {
			edge.Start()
		}
	}
	if !s.Spawner.Running() {
		s.Spawner.Start()
	}
	s.Spawner.WaitReady()
	for _, edge := range s.Edges {
		edge.WaitFed()
	}
}

// takeDown removes everything, after showing what may explain a failure.
func (s *Stand) takeDown() {
	if s.t.Failed() {
		s.explain()
	}
	if s.Spawner != nil {
		s.Spawner.end9()
	}
	for _, edge := range s.Edges {
		edge.Kill()
	}
	if s.ACME != nil {
		s.ACME.stop()
	}
	if s.Lab != nil {
		s.takeLabDown()
	} else {
		removeFleet(s.t, s.FleetID, s.Network)
	}
	if s.t.Failed() && os.Getenv("SPAWNER_KEEP") != "" {
		s.t.Logf("kept: %s", s.Dir)
		return
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		s.t.Logf("cannot remove %s: %v", s.Dir, err)
	}
}

// Name makes a name unique on the engine, for what is not of this fleet alone.
func (s *Stand) Name(name string) string { return name + "-" + s.Suffix }

func randomHex(t T, bytes int) string {
	t.Helper()
	value := make([]byte, bytes)
	if _, err := rand.Read(value); err != nil {
		t.Fatalf("cannot read random bytes: %v", err)
	}
	return hex.EncodeToString(value)
}

// fileName keeps what may stand in a file's name.
func fileName(name string) string {
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return filepath.Base(kept[:min(len(kept), 60)])
}
