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
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/fallback"
)

// Run is a spawner from its start until ctx ends. Parts are ended in this order:
//
//  1. the private API says that it is not ready, and takes no new jobs;
//  2. requests that wait at the fallback router are answered 503 with Retry-After;
//  3. both listeners are closed, and requests that an app answers may end;
//  4. the engine stores what it knows and ends; what runs goes on running;
//  5. the feed ends: edges keep their last document;
//  6. the lease is given back, the store and the connections are closed.
//
// Steps 1 to 4 take ShutdownTimeout at most.
func Run(ctx context.Context, config Config, log *slog.Logger) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	s, err := assemble(ctx, config, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.lease.acquire(ctx); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	return s.serve(ctx)
}

// gcPercent is how much the heap may grow between two collections. A spawner
// allocates little and lives long beside other programs: half of Go's default
// costs it next to nothing and saves a quarter of its private memory.
const gcPercent = 50

// serve opens the listeners and runs every part until ctx ends or one fails.
func (s *spawner) serve(ctx context.Context) error {
	private, public, err := s.listen()
	if err != nil {
		return err
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	outlive, end := context.WithCancel(context.WithoutCancel(ctx)) // what others need while they end
	defer end()
	var last, engine sync.WaitGroup
	start := func(group *sync.WaitGroup, ctx context.Context, name string, run func(context.Context) error) {
		group.Go(func() {
			if err := run(ctx); err != nil {
				fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	start(&last, outlive, "feed", s.feed.Run)
	start(&last, outlive, "activity", s.activity.Run)
	start(&last, outlive, "prober", s.prober.Run)
	engineLife, endEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer endEngine()
	start(&engine, engineLife, "engine", s.engine.Run)
	start(&engine, running, "lease", s.lease.keep)
	start(&engine, running, "housekeeping", s.keepHouse)
	apiServer := s.privateServer(running)
	publicServer := fallback.NewServer(s.config.FallbackAddress, s.fallback, s.log)
	s.serveOn(&engine, apiServer, private, fail)
	s.serveOn(&engine, publicServer, public, fail)
	s.log.Info("Listening", "api", private.Addr().String(), "fallback", public.Addr().String())

	<-running.Done()
	cause := context.Cause(running)
	if errors.Is(cause, context.Canceled) {
		cause = nil
	}
	s.log.Info("Ending")
	s.ending.Store(true)
	bounded, cancel := context.WithTimeout(context.Background(), s.config.ShutdownTimeout)
	defer cancel()
	err = errors.Join(cause, s.fallback.Close(), shutdown(bounded, publicServer), shutdown(bounded, apiServer))
	endEngine()
	engine.Wait()
	end()
	last.Wait()
	s.log.Info("Ended")
	return err
}

func (s *spawner) listen() (private, public net.Listener, err error) {
	private, err = net.Listen("tcp", s.config.APIAddress)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen on --api-address: %w", err)
	}
	public, err = net.Listen("tcp", s.config.FallbackAddress)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot listen on --fallback-address: %w", err), private.Close())
	}
	return private, public, nil
}

// privateServer serves the API and the edges' feed. Streams end with running.
func (s *spawner) privateServer(running context.Context) *http.Server {
	return &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return running },
		ConnContext:       s.feed.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *spawner) serveOn(group *sync.WaitGroup, server *http.Server, listener net.Listener, fail context.CancelCauseFunc) {
	group.Go(func() {
		var err error
		if server.Handler == http.Handler(s.api) && s.config.APITLSCert != "" {
			err = server.ServeTLS(listener, s.config.APITLSCert, s.config.APITLSKey)
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("cannot serve on %s: %w", listener.Addr(), err))
		}
	})
}

// shutdown lets requests end as long as ctx allows, then cuts them off.
func shutdown(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

// housekeeping periods and what is kept.
const (
	housePeriod = time.Hour
	keepFor     = 30 * 24 * time.Hour
	keepEvents  = 100_000
	keepJobs    = 10_000
)

// keepHouse forgets old events and jobs.
func (s *spawner) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(housePeriod)
	defer tick.Stop()
	for {
		before := time.Now().Add(-keepFor)
		if _, err := s.store.Events().Prune(ctx, before, keepEvents); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old events", "error", err)
		}
		if _, err := s.store.Jobs().Prune(ctx, before, keepJobs); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old jobs", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// close ends what assemble opened.
func (s *spawner) close() error {
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

var errLeaseLost = fleet.Errorf(fleet.Unavailable, "another spawner of this fleet has taken over")
