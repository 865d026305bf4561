// Package main is mock-home, the home page of a demo site: what a client sees
// who asks for no service, or for one that is not there. It answers at /home on
// port 8000 (PORT), and `mock-home health` asks that as a HEALTHCHECK would.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const page = `<!doctype html>
<meta name="viewport" content="width=device-width">
<title>home</title>
<style>body{font:1.1rem system-ui;margin:4rem auto;max-width:36rem}code{background:#eee;padding:.1em .3em}</style>
<h1>home</h1>
<p>No service took this request. Choose one by its host, by its path
(<code>/minion-1/</code>) or by the cookie <code>instance=minion-1</code>.</p>
`

func main() {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	if len(os.Args) == 2 && os.Args[1] == "health" {
		if err := askHealth(port); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, port, log); err != nil {
		log.Error("Cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, port string, log *slog.Logger) error {
	server := &http.Server{Addr: net.JoinHostPort("", port), Handler: http.HandlerFunc(home), ReadHeaderTimeout: 10 * time.Second}
	ended := context.AfterFunc(ctx, func() { server.Close() })
	defer ended()
	log.Info("Listening", "port", port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot listen: %w", err)
	}
	return nil
}

// home answers at /home and below it, and at /status for health checks.
func home(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/home" || strings.HasPrefix(r.URL.Path, "/home/"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page)
	case r.URL.Path == "/status":
		fmt.Fprintln(w, "ok")
	default:
		http.NotFound(w, r)
	}
}

func askHealth(port string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get("http://" + net.JoinHostPort("127.0.0.1", port) + "/status")
	if err != nil {
		return fmt.Errorf("cannot ask /status: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/status answered %s", response.Status)
	}
	return nil
}
