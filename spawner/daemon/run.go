package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"edgespawner/fleet"
	"edgespawner/spawner/fallback"
)

// Run is a spawner from its start until ctx ends. Parts are ended in this order:
//
//  1. the private API says that it is not ready, ends its streams and takes
//     nothing new (503); no job and no step of one begins any more;
//  2. requests that wait at the fallback router are answered 503 with Retry-After;
//  3. both listeners are closed; requests that an app answers may end, and so may
//     steps that change containers; those that only wait are left to the next start;
//  4. the engine stores what it knows and ends; what runs goes on running;
//  5. the feed ends: edges keep their last document;
//  6. the leases are given back, the store and the connections are closed, the
//     state directory is given free.
//
// Steps 1 to 4 take ShutdownTimeout at most; what has not ended by then is cut
// off and, if it is a job, taken up at the next start. The lease is kept until
// step 6, so that no other spawner begins before this one has ended. A second
// signal ends the process at once (see main).
func Run(ctx context.Context, config Config, log *slog.Logger) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	claim, err := claimState(ctx, config.StateDir, log)
	if claim == nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Close()) }()
	s, err := assemble(ctx, config, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if held, err := s.lease.acquire(ctx); !held {
		return err
	}
	if held, err := s.nodes.leases.acquire(ctx); !held {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	private, public, err := s.listen()
	if err != nil {
		return err
	}
	return s.serve(ctx, private, public)
}

// gcPercent is how much the heap may grow between two collections. A spawner
// allocates little and lives long beside other programs: half of Go's default
// costs it next to nothing and saves a quarter of its private memory.
const gcPercent = 50

// serve runs every part until ctx ends or one of them fails, then ends all.
func (s *spawner) serve(ctx context.Context, private, public net.Listener) error {
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	last, work := newStage(ctx, fail), newStage(ctx, fail)
	last.start("feed", s.feed.Run)
	last.start("activity", s.activity.Run)
	last.start("prober", s.prober.Run)
	last.start("lease", s.lease.keep)
	last.start("leases of nodes", s.nodes.leases.keep)
	work.start("engine", s.engine.Run)
	work.start("webhooks", s.webhooks.Run)
	work.start("housekeeping", s.keepHouse)
	work.start("swarm", s.nodes.swarm.run)
	apiServer := s.privateServer(running)
	publicServer := fallback.NewServer(s.config.FallbackAddress, s.fallback, s.log)
	work.start("private API", func(context.Context) error { return s.serveAPI(apiServer, private) })
	work.start("fallback router", func(ctx context.Context) error { return s.serveFallback(ctx, publicServer, public) })
	s.log.Info("Listening", "api", private.Addr().String(), "fallback", public.Addr().String())
	s.engine.Record(fleet.Event{Type: fleet.EventSpawner, Message: "The spawner began"})

	<-running.Done()
	cause := context.Cause(running)
	if errors.Is(cause, context.Canceled) {
		cause = nil // told to end
	}
	s.log.Info("Ending")
	s.engine.Record(fleet.Event{Type: fleet.EventSpawner, Message: endMessage(cause)})
	s.ending.Store(true)
	late := s.endWork(work, apiServer, publicServer)
	last.stop()
	s.log.Info("Ended")
	return errors.Join(cause, late)
}

func endMessage(cause error) string {
	if cause != nil {
		return fmt.Sprintf("The spawner ends: %s", cause)
	}
	return "The spawner ends: it was told to"
}

// endWork is steps 1 to 4 of Run's order. A fifth of the time is the engine's,
// however long the requests take. The error says what did not end in time.
func (s *spawner) endWork(work *stage, servers ...*http.Server) error {
	whole := s.config.ShutdownTimeout
	limit, cancel := context.WithTimeout(context.Background(), whole)
	defer cancel()
	requests, cancelRequests := context.WithTimeout(limit, whole-whole/5)
	defer cancelRequests()
	parked := s.engine.Park()
	held := within(requests, "the requests that wait", s.fallback.Close)
	var closing sync.WaitGroup
	for _, server := range servers {
		closing.Go(func() { s.shutdown(requests, server) })
	}
	closing.Wait()
	select {
	case <-parked:
	case <-requests.Done():
		s.log.Warn("Cutting off steps of jobs, which the next start takes up")
	}
	return errors.Join(held, within(limit, "the engine", work.stop))
}

// within waits for f, until ctx ends at most.
func within(ctx context.Context, what string, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s did not end within --shutdown-timeout", what)
	}
}

// stage is parts that end together.
type stage struct {
	ctx   context.Context
	end   context.CancelFunc
	fail  context.CancelCauseFunc // ends the whole spawner
	parts sync.WaitGroup
}

// newStage makes a stage that ends by stop alone, whatever becomes of ctx.
func newStage(ctx context.Context, fail context.CancelCauseFunc) *stage {
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	return &stage{ctx: own, end: end, fail: fail}
}

// start runs a part; its error ends the spawner.
func (g *stage) start(name string, run func(context.Context) error) {
	g.parts.Go(func() {
		if err := run(g.ctx); err != nil {
			g.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// stop ends the parts and waits for them.
func (g *stage) stop() {
	g.end()
	g.parts.Wait()
}

// close ends what assemble opened.
func (s *spawner) close() error {
	s.nodes.leases.releaseAll(s.nodes.others())
	return errors.Join(s.lease.release(), s.pool.Close(), s.store.Close())
}

// databaseFile is the database inside a state directory.
func databaseFile(stateDir string) string { return filepath.Join(stateDir, "spawner.db") }

// ensureStateDir makes the state directory, readable by its owner alone.
func ensureStateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make --state-dir: %w", err)
	}
	return nil
}
