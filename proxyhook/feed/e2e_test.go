//go:build e2e

package feed

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
)

const secret = "e2e-secret"

// rig is a feed with one real Traefik before it.
type rig struct {
	t       *testing.T
	feed    *Feed
	version uint64
	web     string // host:port of the entry points
	secure  string
	events  chan fleet.Event
	log     string // Traefik's
}

// raise starts everything; it ends with the test.
func raise(t *testing.T, render func(proxyhook.Settings, *fleet.Snapshot, proxyhook.View) (*proxyhook.Document, error)) *rig {
	t.Helper()
	fallback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash := r.Header.Get(proxyhook.HeaderConfig)
		switch {
		case r.Header.Get(proxyhook.HeaderEdge) != secret:
			w.WriteHeader(http.StatusForbidden)
		case hash != "":
			w.Header().Set(proxyhook.HeaderConfig, hash)
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = io.WriteString(w, "fallback "+r.Header.Get(proxyhook.HeaderService))
		}
	}))
	t.Cleanup(fallback.Close)
	certPEM, keyPEM, err := NewDefaultCertificate()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, web: free(t), secure: free(t), events: make(chan fleet.Event, 1000)}
	r.feed = New(Config{
		Settings: proxyhook.Settings{
			FallbackURL: fallback.URL, EdgeSecret: secret, Web: "web", WebSecure: "websecure", CatchAll: true,
			DefaultCertificate: true, CertificatePEM: certPEM, KeyPEM: keyPEM, ProbeHost: "probe-e2e.invalid",
		},
		Edges:  []EdgeAddress{{Name: "main", Web: "http://" + r.web, WebSecure: "https://" + r.secure}},
		Events: func(e fleet.Event) { r.events <- e },
		Render: render,
	})
	server := httptest.NewUnstartedServer(r.feed)
	server.Config.ConnContext = r.feed.ConnContext
	server.Start()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.feed.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	r.startTraefik(server.URL)
	return r
}

func (r *rig) startTraefik(feedURL string) {
	r.t.Helper()
	binary := os.Getenv("TRAEFIK_BIN")
	if binary == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			r.t.Fatal(err)
		}
		binary = filepath.Join(home, ".cache", "spawner", "traefik-v3.7.9")
	}
	static := fmt.Sprintf(`
global: {checkNewVersion: false, sendAnonymousUsage: false}
api: {dashboard: false}
log: {level: INFO}
entryPoints:
  web: {address: %q}
  websecure: {address: %q}
providers:
  providersThrottleDuration: 0s
  http: {endpoint: "%s/traefik/config?edge=main", pollInterval: 10ms, pollTimeout: 5s}
`, r.web, r.secure, feedURL)
	dir := r.t.TempDir()
	config := filepath.Join(dir, "traefik.yml")
	r.log = filepath.Join(dir, "traefik.log")
	if err := os.WriteFile(config, []byte(static), 0o600); err != nil {
		r.t.Fatal(err)
	}
	output, err := os.Create(r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	command := exec.Command(binary, "--configFile="+config)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		r.t.Fatalf("cannot start Traefik (TRAEFIK_BIN says which): %v", err)
	}
	r.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
		_ = output.Close()
		if text, err := os.ReadFile(r.log); err == nil && r.t.Failed() {
			r.t.Logf("Traefik says:\n%s", text)
		}
	})
}

func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// app answers with its name.
func app(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(server.Close)
	parsed, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(parsed.Host)
}

func routed(name string, tls bool, image string, revision int, endpoints ...netip.AddrPort) fleet.Routed {
	spec := fleet.DefaultSpec()
	spec.Name, spec.Image = name, image
	spec.Route = &fleet.Route{Hosts: []string{name + ".example.com"}, TLS: tls}
	r := fleet.Routed{Name: name, Revision: revision, Spec: &spec, Port: 80, Status: fleet.StatusRunning}
	for _, address := range endpoints {
		r.Endpoints = append(r.Endpoints, fleet.Endpoint{Replica: name + "-0", Addr: address})
	}
	return r
}

func (r *rig) publish(services []fleet.Routed) uint64 {
	r.version++
	r.feed.Publish(&fleet.Snapshot{Version: r.version, Services: slices.Clone(services)})
	return r.version
}

func (r *rig) confirm(version uint64) time.Duration {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	begun := time.Now()
	confirmation, err := r.feed.Confirmed(ctx, version)
	if err != nil || confirmation.Edges != 1 {
		r.t.Fatalf("version %d: %+v, %v", version, confirmation, err)
	}
	return time.Since(begun)
}

// visitor asks the edge; one that keeps its connections, or a new one each time.
func (r *rig) visitor(keep bool) *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: !keep,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			target := r.web
			if strings.HasSuffix(address, ":443") {
				target = r.secure
			}
			return (&net.Dialer{}).DialContext(ctx, network, target)
		},
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func get(client *http.Client, address string) string {
	response, err := client.Get(address)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// town is ten services, of which the first is in plain and the second in TLS.
func town(a netip.AddrPort) []fleet.Routed {
	services := []fleet.Routed{routed("plain", false, "plain", 1, a), routed("secure", true, "secure", 1, a)}
	for i := range 8 {
		services = append(services, routed(fmt.Sprintf("town-%d", i), i%2 == 0, "town", 1, a))
	}
	return services
}

func TestAfterConfirmedEveryNewRequestTakesTheNewRoute(t *testing.T) {
	r := raise(t, nil)
	a, b := app(t, "a"), app(t, "b")
	services := town(a)
	r.confirm(r.publish(services))
	fresh, kept := r.visitor(false), r.visitor(true)
	var took []time.Duration
	wrong := 0
	for round := range 200 {
		endpoints := map[int][]netip.AddrPort{0: {b}, 1: {a}, 2: nil}[round%3]
		for i, name := range []string{"plain", "secure"} {
			services[i] = routed(name, i == 1, name, 1, endpoints...)
			services[i].Spec = town(a)[i].Spec
		}
		took = append(took, r.confirm(r.publish(services)))
		for _, client := range []*http.Client{fresh, kept} {
			for scheme, name := range map[string]string{"http": "plain", "https": "secure"} {
				want := map[int]string{0: "b", 1: "a", 2: "fallback " + name}[round%3]
				if got := get(client, scheme+"://"+name+".example.com/"); got != want {
					wrong++
					t.Errorf("round %d: %s answers %q after the confirmation, want %q", round, name, got, want)
				}
			}
		}
		if wrong > 5 {
			break
		}
	}
	t.Logf("10 services, change → confirmed: %s", spread(took))
}

func TestAChangeIsLiveSoonAndConfirmedRightAfter(t *testing.T) {
	r := raise(t, nil)
	a, b := app(t, "a"), app(t, "b")
	services := town(a)
	r.confirm(r.publish(services))
	client := r.visitor(true)
	var live, late []time.Duration
	for round := range 100 {
		want := []string{"b", "a"}[round%2]
		spec := services[0].Spec
		services[0] = routed("plain", false, "plain", 1, []netip.AddrPort{b, a}[round%2])
		services[0].Spec = spec
		begun := time.Now()
		version := r.publish(services)
		seen := make(chan time.Duration, 1)
		go func() {
			for get(client, "http://plain.example.com/") != want {
				time.Sleep(300 * time.Microsecond)
			}
			seen <- time.Since(begun)
		}()
		confirmed := r.confirm(version)
		alive := <-seen
		live, late = append(live, alive), append(late, confirmed-alive)
		time.Sleep(time.Duration(round%13) * time.Millisecond)
	}
	t.Logf("10 services, change → live: %s; live on web → confirmed on both entry points: %s", spread(live), spread(late))
}

func TestARealTraefikThatRefusesADocumentKeepsTheRestAlive(t *testing.T) {
	r := raise(t, func(s proxyhook.Settings, snapshot *fleet.Snapshot, v proxyhook.View) (*proxyhook.Document, error) {
		document, err := proxyhook.Render(s, snapshot, v)
		if err != nil {
			return nil, err
		}
		for _, service := range snapshot.Services {
			if service.Spec.Image == "unknown-field" && !v.LeftOut[service.Name] {
				return spoil(document, service.Name)
			}
		}
		return document, nil
	})
	a, b := app(t, "a"), app(t, "b")
	services := town(a)
	r.confirm(r.publish(services))
	client := r.visitor(false)

	services[0] = routed("plain", false, "unknown-field", 2, b)
	version := r.publish(services)
	begun := time.Now()
	_, err := r.feed.Confirmed(context.Background(), version)
	if err == nil || !strings.Contains(err.Error(), "plain (revision 2)") {
		t.Errorf("got %v", err)
	}
	t.Logf("the culprit was found after %s", time.Since(begun).Round(time.Millisecond))
	services[1].Endpoints = []fleet.Endpoint{{Replica: "secure-0", Addr: b}}
	r.confirm(r.publish(services))
	if got := get(client, "https://secure.example.com/"); got != "b" {
		t.Errorf("another service answers %q, want b", got)
	}
	if got := get(client, "http://plain.example.com/"); got != "b" {
		t.Errorf("the refused one answers %q, want its present replica by the rule of revision 1", got)
	}
	services[0] = routed("plain", false, "plain", 3, a)
	r.confirm(r.publish(services))
	if got := get(client, "http://plain.example.com/"); got != "a" {
		t.Errorf("the mended one answers %q", got)
	}
}

// spoil puts a field that no Traefik knows into a service's routers.
func spoil(document *proxyhook.Document, service string) (*proxyhook.Document, error) {
	var decoded map[string]any
	if err := json.Unmarshal(document.JSON, &decoded); err != nil {
		return nil, err
	}
	for name, router := range decoded["http"].(map[string]any)["routers"].(map[string]any) {
		if strings.HasPrefix(name, service+"-r") {
			router.(map[string]any)["unknownField"] = true
		}
	}
	data, err := json.Marshal(decoded)
	return &proxyhook.Document{JSON: data, Hash: document.Hash}, err
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func spread(list []time.Duration) string {
	sorted := slices.Sorted(slices.Values(list))
	return fmt.Sprintf("p50 %s, p95 %s, max %s", median(list).Round(100*time.Microsecond),
		sorted[len(sorted)*95/100].Round(100*time.Microsecond), sorted[len(sorted)-1].Round(100*time.Microsecond))
}
