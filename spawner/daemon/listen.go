package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

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

// privateServer serves the API and the edges' feed. The contexts of its requests
// end with running: streams end then, and nothing is accepted any more.
func (s *spawner) privateServer(running context.Context) *http.Server {
	return &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // of a request with its body; an answer may stream for ever
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return running },
		ConnContext:       s.feed.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *spawner) serveAPI(server *http.Server, listener net.Listener) error {
	if s.config.APITLSCert == "" {
		return unlessClosed(server.Serve(listener))
	}
	return unlessClosed(server.ServeTLS(listener, s.config.APITLSCert, s.config.APITLSKey))
}

// serveFallback serves requests once the services are known: none of them is
// told that there is no such service while the state is being loaded. Until then
// the kernel takes connections, and holds them.
func (s *spawner) serveFallback(ctx context.Context, server *http.Server, listener net.Listener) error {
	select {
	case <-s.engine.Loaded():
		return unlessClosed(server.Serve(listener))
	case <-ctx.Done():
		return listener.Close()
	}
}

// unlessClosed is nil for the end of a server that was shut down.
func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// shutdown lets requests end as long as ctx allows, then cuts them off.
func (s *spawner) shutdown(ctx context.Context, server *http.Server) {
	if server.Shutdown(ctx) == nil {
		return
	}
	s.log.Warn("Cutting off requests that have not ended")
	if err := server.Close(); err != nil {
		s.log.Debug("Closing a server", "error", err)
	}
}
