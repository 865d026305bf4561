// Package main is mock-app, the demo service: a small web server that shuts
// itself down when it is idle, and that can be slow, crash, hang or fall ill on
// demand, so that a deployment can be seen to survive it. `mock-app health`
// asks its own /status, as the HEALTHCHECK of an image without a shell.
//
// It is for trying out and for tests; nothing in it is protected.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	config, err := readConfig(os.Getenv)
	if err != nil {
		log.Error("Cannot start", "error", err)
		os.Exit(2)
	}
	if len(os.Args) == 2 && os.Args[1] == "health" {
		if err := askHealth(config.Port); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, config, log); err != nil {
		log.Error("Cannot serve", "error", err)
		os.Exit(1)
	}
}

// askHealth returns nil when the app on this machine calls itself healthy.
func askHealth(port int) error {
	client := http.Client{Timeout: healthTimeout}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/status", port))
	if err != nil {
		return fmt.Errorf("cannot ask /status: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/status answered %s", response.Status)
	}
	return nil
}
