package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"edgespawner/spawner/docker"
)

// lease keeps a second spawner of the same fleet on standby.
type lease struct {
	pool  *docker.Pool
	node  string
	owner string
	log   *slog.Logger
	held  bool
}

// acquire waits until this process has the lease, or ctx ends.
func (l *lease) acquire(ctx context.Context) error {
	told := ""
	for {
		held, holder, err := l.pool.AcquireLease(ctx, l.node, l.owner)
		switch {
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("cannot reach the engine of node %s: %w", l.node, err)
		case held:
			l.held = true
			return nil
		case holder != told:
			l.log.Warn("Standing by: another spawner of this fleet runs", "holder", holder)
			told = holder
		}
		select {
		case <-time.After(docker.LeaseRefresh):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep refreshes the lease until ctx ends. An engine that does not answer
// changes nothing: nobody else can take the lease there meanwhile.
func (l *lease) keep(ctx context.Context) error {
	tick := time.NewTicker(docker.LeaseRefresh)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		held, holder, err := l.pool.AcquireLease(ctx, l.node, l.owner)
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
	return l.pool.ReleaseLease(ctx, l.node)
}
