package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// serve runs the app until ctx ends (SIGTERM) or it has been idle for long
// enough; both are a good end.
func serve(ctx context.Context, c config, log *slog.Logger) error {
	if c.Exit != 0 {
		os.Exit(c.Exit)
	}
	if c.ExitOn == c.Hostname {
		os.Exit(1)
	}
	if c.ExitLater != 0 && startedBefore() {
		os.Exit(c.ExitLater)
	}
	if c.CrashAfter > 0 {
		time.AfterFunc(c.CrashAfter, func() { os.Exit(1) })
	}
	if !pause(ctx, c.StartDelay) {
		return nil
	}
	app, err := newApp(c, log)
	if err != nil {
		return err
	}
	defer app.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	log.Info("Listening", "port", c.Port, "protocol", c.Protocol, "idle", c.Idle, "version", c.Version)
	return app.run(ctx, listener)
}

// run serves on listener until ctx ends or the app is idle, then lets the
// requests under way end.
func (a *app) run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: a, ReadHeaderTimeout: 30 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(a.config.Protocol == "h2c")
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-a.idle.Expired():
		a.log.Info("Idle: ending", "after", a.config.Idle)
	case <-ctx.Done():
		a.log.Info("Told to end", "delay", a.config.StopDelay)
	}
	stopped := ctx.Err() != nil
	delay := time.After(a.config.StopDelay)
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot end in order: %w", err)
	}
	if stopped {
		<-delay
	}
	return nil
}

// pause waits for d and says whether ctx still stands.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// startedBefore says whether the app was started in this container before.
func startedBefore() bool {
	const mark = "started"
	if _, err := os.Stat(mark); err == nil {
		return true
	}
	return os.WriteFile(mark, nil, 0o600) != nil
}
