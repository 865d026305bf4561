package main

import (
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// app answers the requests.
type app struct {
	config    config
	log       *slog.Logger
	idle      *idle
	ids       *ids
	grpc      *grpc.Server
	routes    map[string]http.HandlerFunc // by exact path; a mux would clean the paths that echo shows
	readyAt   time.Time
	unhealthy atomic.Bool
	hanging   atomic.Bool
}

func newApp(c config, log *slog.Logger) (*app, error) {
	ids, err := openIDs(c.IDsFile, c.IDsURL)
	if err != nil {
		return nil, err
	}
	a := &app{config: c, log: log, idle: newIdle(c.Idle), ids: ids, grpc: newGRPC(), readyAt: time.Now().Add(c.ReadyDelay)}
	a.unhealthy.Store(c.Unhealthy)
	a.hanging.Store(c.Hang)
	a.routes = map[string]http.HandlerFunc{
		"/":          a.home,
		"/status":    a.status,
		"/echo":      a.echo,
		"/slow":      a.slow,
		"/upload":    a.upload,
		"/download":  a.download,
		"/events":    a.events,
		"/ws":        a.websocket,
		"/ids":       a.ids.ServeHTTP,
		"/crash":     a.crash,
		"/hang":      a.hang,
		"/unhealthy": a.fallIll,
		"/healthy":   a.recover,
		"/oom":       a.outOfMemory,
	}
	return a, nil
}

// Close lets go what the app holds; it answers nothing afterwards.
func (a *app) Close() {
	a.idle.Close()
	a.grpc.Stop()
	a.ids.Close()
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.hanging.Load() {
		<-r.Context().Done()
		return
	}
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		a.grpc.ServeHTTP(w, r)
		return
	}
	handle, ok := a.routes[r.URL.Path]
	if !ok && strings.HasPrefix(r.URL.Path, "/echo/") {
		handle, ok = a.echo, true
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	handle(w, r)
}

// home shows who answered, and is what counts as use.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	a.idle.Used()
	if !a.ready() {
		http.Error(w, "not ready yet", http.StatusServiceUnavailable)
		return
	}
	lines := [][2]string{{"hostname", a.config.Hostname}, {"version", a.config.Version}, {"connstr", a.config.Connection}}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, line := range lines {
			fmt.Fprintf(w, "%s: %s\n", line[0], line[1])
		}
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, "<!doctype html><meta name=viewport content='width=device-width'><title>mock-app</title>"+
		"<style>body{font:1.1rem system-ui;margin:4rem auto;max-width:36rem}dt{color:#777}dd{margin:0 0 1rem}</style><h1>mock-app</h1><dl>")
	for _, line := range lines {
		fmt.Fprintf(w, "<dt>%s<dd>%s", line[0], html.EscapeString(line[1]))
	}
	fmt.Fprint(w, "</dl>")
}

// status is the health check.
func (a *app) status(w http.ResponseWriter, _ *http.Request) {
	switch {
	case a.unhealthy.Load():
		http.Error(w, "unhealthy", http.StatusServiceUnavailable)
	case !a.ready():
		http.Error(w, "not ready yet", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

func (a *app) ready() bool { return !time.Now().Before(a.readyAt) }

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value) // an error is the client's going
}

// queryDuration reads ?name=, answering 400 when it does not parse.
func queryDuration(w http.ResponseWriter, r *http.Request, name string, preset time.Duration) (time.Duration, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return preset, true
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		http.Error(w, name+" must be a duration such as 5s", http.StatusBadRequest)
		return 0, false
	}
	return d, true
}

// queryNumber reads ?name=, answering 400 when it does not parse.
func queryNumber(w http.ResponseWriter, r *http.Request, name string, preset int64) (int64, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return preset, true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		http.Error(w, name+" must be a number", http.StatusBadRequest)
		return 0, false
	}
	return n, true
}
