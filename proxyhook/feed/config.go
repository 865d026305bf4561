package feed

import (
	"context"
	"log/slog"
	"net"
	"regexp"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

// The times of the feed.
const (
	holdTime    = 500 * time.Millisecond // of a poll that has nothing new to get; Traefik's shutdown waits for it
	loadTime    = 4 * time.Second        // of a poll while there is no document yet, then 503
	quietTime   = time.Millisecond       // without another change before a document is made
	gatherTime  = 3 * time.Millisecond   // at most, from the first change to its document
	lostTime    = 20 * time.Second       // without a poll; Traefik's back-off reaches 19 s
	staleTime   = 2 * time.Second        // without a poll on one connection while another of the edge polls
	refusalTime = 5 * time.Second        // from received to refused
	confirmTime = 30 * time.Second       // at most, in Confirmed
	namedTime   = 10 * time.Minute       // without a poll; a confirmation names an edge as lost for no longer
	forgetTime  = 24 * time.Hour         // from lost to forgotten, unless configured
	knownPeriod = 10 * time.Second       // between looks for edges by label
	maxEdges    = 256
	maxHistory  = 64 // documents remembered of an edge that applies none of them
)

// EdgeAddress is where an edge is reached from the spawner. Empty = unknown.
type EdgeAddress struct {
	Name      string // as in ?edge=
	Web       string // URL of the web entry point
	WebSecure string // URL of the websecure entry point
	Metrics   string // URL of the Prometheus page
}

// Config is what a feed is made of. Callbacks may come from any goroutine, are
// called without a lock held, and should return soon.
type Config struct {
	Settings proxyhook.Settings
	// Edges are the edges whose addresses are configured. They are expected to poll.
	Edges []EdgeAddress
	// Known finds further edges, by label; it is asked every 10 s. Nil = none.
	Known func(ctx context.Context) ([]EdgeAddress, error)
	// Expected are the names of edges that polled an earlier spawner of this fleet.
	Expected []string
	// ACMEEdge is the edge that obtains certificates; empty = the first one.
	ACMEEdge string

	Seen    func(edge string)                     // a new name has polled: remember it for Expected
	Gone    func(edge string)                     // it has not polled for a day: forget it
	Events  func(fleet.Event)                     // edges seen, lost, refusing; certificates
	Refused func(edge, service string)            // a document was refused (service ""), a service was found to be the cause
	Applied func(edge string, took time.Duration) // from a change to its proof on all entry points
	Log     *slog.Logger

	// Render and dial replace proxyhook.Render and the network in tests.
	Render func(proxyhook.Settings, *fleet.Snapshot, proxyhook.View) (*proxyhook.Document, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// edgeName is what an edge may be called.
var edgeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
