package probes

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"edgespawner/fleet"
)

// Execer runs commands inside apps.
type Execer interface {
	// Exec runs a command inside a running container until it ends or ctx does.
	// An error means that it could not be run; a command that ran and failed is
	// a result with an exit code.
	Exec(ctx context.Context, node, id string, command []string) (fleet.ExecResult, error)
}

// Target is the replica that a check is run against.
type Target struct {
	Replica string // <service>-<index>
	Service string
	Node    string
	AppID   string     // the app's container, for commands
	Addr    netip.Addr // the sandbox's, for HTTP and TCP
	Port    int        // the service's; 0 = it has none
	// Published are the ports to dial at Addr instead of the app's own; those
	// that are not in it are dialled as they are.
	Published map[int]int
	// Tried is told of each try of Await that failed, and returns at once. Nil = nobody is told.
	Tried func(error)
}

// address joins the replica's address with a port.
func (t Target) address(port int) netip.AddrPort {
	if published, ok := t.Published[port]; ok {
		port = published
	}
	return netip.AddrPortFrom(t.Addr, uint16(port)) //nolint:gosec // ports are validated with the spec
}

// Config is what a Prober is made of.
type Config struct {
	// Execer runs the checks that are commands. Nil = such checks fail and say why.
	Execer Execer
	// Report is told each change of a watched replica's health, on the
	// goroutine of that replica alone, so it may block without delaying others.
	// Nil = nobody is told.
	Report func(Change)
	// Observe is told each probe of the schedule when it has ended, on the
	// goroutine of its replica; it returns at once. Nil = nobody is told.
	Observe func(Probed)
	Log     *slog.Logger // nil = discarded
}

// Prober runs health checks.
type Prober struct {
	execer  Execer
	report  func(Change)
	observe func(Probed)
	log     *slog.Logger

	mu      sync.Mutex        // guards the fields below
	running context.Context   // of Run; nil before it and after
	watches map[string]*watch // by replica
	loops   sync.WaitGroup    // the goroutines of watches
}

// New makes a Prober; it starts nothing.
func New(config Config) *Prober {
	p := &Prober{
		execer:  config.Execer,
		report:  config.Report,
		observe: config.Observe,
		log:     config.Log,
		watches: map[string]*watch{},
	}
	if p.report == nil {
		p.report = func(Change) {}
	}
	if p.observe == nil {
		p.observe = func(Probed) {}
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p
}
