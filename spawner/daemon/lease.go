package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

// leases is where a lease is had: the engine of a node.
type leases interface {
	// AcquireLease takes or refreshes the lease for owner, and says who has it.
	AcquireLease(ctx context.Context, node, owner string) (held bool, holder string, err error)
	// ReleaseLease gives it back; nil when this process does not hold it.
	ReleaseLease(ctx context.Context, node string) error
}

// lease keeps a second spawner of the same fleet on standby. Its methods are
// called one after the other.
type lease struct {
	leases leases
	node   string
	owner  string
	log    *slog.Logger
	held   bool
}

var errLeaseLost = fleet.Errorf(fleet.Unavailable, "another spawner of this fleet has taken over")

// acquire waits until this process has the lease; false without an error when
// ctx ends before. An engine that cannot be reached is an error, unless it could
// be before: then another spawner stands there, and so may this one.
func (l *lease) acquire(ctx context.Context) (bool, error) {
	waiting, told := false, ""
	for {
		held, holder, err := l.leases.AcquireLease(ctx, l.node, l.owner)
		switch {
		case ctx.Err() != nil:
			l.held = held
			return false, nil
		case held:
			l.held = true
			return true, nil
		case fleet.KindOf(err) == fleet.Unavailable && !waiting:
			return false, fleet.Errorf(fleet.Unavailable, "%s; start the engine, or say by --docker-host or DOCKER_HOST where it listens", err)
		case err != nil && !waiting:
			return false, err
		case err != nil:
			l.log.Debug("Cannot look at the lease", "node", l.node, "error", err)
		case !waiting || holder != told:
			l.log.Warn("Standing by: another spawner of this fleet runs", "holder", holder)
			waiting, told = true, holder
		}
		select {
		case <-time.After(docker.LeaseRefresh):
		case <-ctx.Done():
			return false, nil
		}
	}
}

// keep refreshes the lease until ctx ends. An engine that does not answer
// changes nothing: if another spawner could reach it meanwhile and has taken
// over, the next answer says so.
func (l *lease) keep(ctx context.Context) error {
	tick := time.NewTicker(docker.LeaseRefresh)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		held, holder, err := l.leases.AcquireLease(ctx, l.node, l.owner)
		switch {
		case err != nil:
			l.log.Debug("Cannot refresh the lease", "node", l.node, "error", err)
		case !held:
			l.held = false
			return fmt.Errorf("%w: %s", errLeaseLost, holder)
		}
	}
}

// release gives the lease back, so that a successor need not wait.
func (l *lease) release() error {
	if !l.held {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), docker.LeaseRefresh)
	defer cancel()
	return l.leases.ReleaseLease(ctx, l.node)
}
