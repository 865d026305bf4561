package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"edgespawner/fleet"
)

// Probe executes a check once, within the check's timeout. Nil = healthy; an
// error says in words fit for an event what was found instead.
func (p *Prober) Probe(ctx context.Context, t Target, check fleet.HealthCheck) error {
	check = check.WithDefaults()
	return p.probe(ctx, t, check, check.Timeout.Std())
}

// probe is Probe with its own bound on the time to connect; check has its defaults.
func (p *Prober) probe(ctx context.Context, t Target, check fleet.HealthCheck, connect time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, check.Timeout.Std())
	defer cancel()
	switch check.Type {
	case fleet.CheckHTTP:
		return probeHTTP(ctx, t, check, connect)
	case fleet.CheckTCP:
		conn, err := dial(ctx, t.address(portOf(t, check)), connect)
		if err != nil {
			return err
		}
		return hangUp(conn)
	case fleet.CheckCommand, fleet.CheckDocker:
		return p.probeCommand(ctx, t, check)
	case fleet.CheckNone:
		return nil
	default:
		return fmt.Errorf("cannot run a health check of type %q", check.Type)
	}
}

// probeCommand runs the check's command inside the app.
func (p *Prober) probeCommand(ctx context.Context, t Target, check fleet.HealthCheck) error {
	switch {
	case len(check.Command) == 0 && check.Type == fleet.CheckDocker:
		return errors.New("the image has no HEALTHCHECK")
	case len(check.Command) == 0:
		return errors.New("the health check has no command")
	case p.execer == nil:
		return errors.New("cannot run a command here")
	}
	result, err := p.execer.Exec(ctx, t.Node, t.AppID, check.Command)
	if err != nil {
		return fmt.Errorf("cannot run the command: %w", plainTimeout(ctx, err))
	}
	if result.ExitCode != 0 {
		return fmt.Errorf("the command ended with exit code %d", result.ExitCode)
	}
	return nil
}

// Answers says whether the app answers its clients at all, whatever its health
// check says: with any answer to one request at the service's port. A service
// without a port answers nobody.
func (p *Prober) Answers(ctx context.Context, t Target) bool {
	check := fleet.HealthCheck{Type: fleet.CheckHTTP, Endpoint: fmt.Sprintf("http://localhost:%d/", t.Port)}
	err := p.Probe(ctx, t, check)
	var answered *errAnswered
	return err == nil || errors.As(err, &answered) || errors.Is(err, errNotHTTP)
}

// errConnect marks a failure to connect: the cheapest kind to try again.
type errConnect struct{ reason error }

func (e *errConnect) Error() string { return e.reason.Error() }
func (e *errConnect) Unwrap() error { return e.reason }

// dial connects to an address within limit.
func dial(ctx context.Context, address netip.AddrPort, limit time.Duration) (net.Conn, error) {
	if !address.IsValid() {
		return nil, &errConnect{errors.New("the replica has no address")}
	}
	if address.Port() == 0 {
		return nil, &errConnect{errors.New("the service has no port to connect to")}
	}
	dialer := net.Dialer{Timeout: limit, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return nil, &errConnect{fmt.Errorf("cannot connect to %s: %w", address, plainDial(err))}
	}
	return conn, nil
}

// plainDial reduces an error of a dial to its cause in words.
func plainDial(err error) error {
	var number syscall.Errno
	switch {
	case errors.As(err, &number):
		return number
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// plainTimeout says "no answer in time" for an error that is the end of ctx.
func plainTimeout(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// hangUp closes a connection that has told all that was asked of it.
func hangUp(conn net.Conn) error {
	if err := conn.Close(); err != nil {
		return fmt.Errorf("cannot close the connection: %w", err)
	}
	return nil
}

// portOf returns the port that a TCP check dials.
func portOf(t Target, check fleet.HealthCheck) int {
	if check.Port != 0 {
		return check.Port
	}
	return t.Port
}
