package stand

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"edgespawner/fleet"
)

// Edge is a stock Traefik, a process of the host, with the shipped static
// configuration.
type Edge struct {
	*Process
	stand *Stand

	Name          string
	URL           string // of the plain entry point
	TLSURL        string
	MetricsURL    string
	webPort       int
	webSecurePort int
	metricsPort   int
	config        string // path of its static file
	token         string // by which it polls
}

func newEdge(t T, s *Stand, name string, apiPort int, token string, at *home, boxed bool) *Edge {
	t.Helper()
	host, api := "127.0.0.1", fmt.Sprintf("127.0.0.1:%d", apiPort)
	if boxed {
		host, api = "", overBridge(t, apiPort)
	}
	e := describeEdge(t, s, name, host, fmt.Sprintf("http://%s/traefik/config?edge=%s", api, name), token)
	if boxed {
		e.box(t)
	} else {
		e.asProcess(t, at)
	}
	return e
}

// BareEdge starts an edge that polls feed instead of the spawner, for a floor:
// what an edge needs for a document when all else costs nothing.
func (s *Stand) BareEdge(name, feed string) *Edge {
	s.t.Helper()
	e := describeEdge(s.t, s, name, "127.0.0.1", feed, "none")
	e.asProcess(s.t, nil)
	e.Start()
	s.t.Cleanup(e.Kill)
	return e
}

// asProcess makes the edge a process, of this host or of a home in a lab.
func (e *Edge) asProcess(t T, at *home) {
	t.Helper()
	program, args := at.enter(traefikBinary(t), []string{"--configFile=" + e.config})
	e.Process = newProcess(t, e.stand.Dir, e.Name, program, args, nil)
}

// describeEdge writes the static file of an edge that listens on host.
func describeEdge(t T, s *Stand, name, host, feed, token string) *Edge {
	t.Helper()
	web, webSecure, metrics := FreePort(t), FreePort(t), FreePort(t)
	e := &Edge{
		stand: s, Name: name, webPort: web, webSecurePort: webSecure, metricsPort: metrics,
		URL:        fmt.Sprintf("http://127.0.0.1:%d", web),
		TLSURL:     fmt.Sprintf("https://127.0.0.1:%d", webSecure),
		MetricsURL: fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics),
		config:     filepath.Join(s.Dir, name+".yml"),
		token:      token,
	}
	e.write("edge/traefik.yml", map[string]string{
		"LOG_LEVEL":  "INFO",
		"WEB":        fmt.Sprintf("%s:%d", host, web),
		"WEBSECURE":  fmt.Sprintf("%s:%d", host, webSecure),
		"METRICS":    fmt.Sprintf("%s:%d", host, metrics),
		"FEED":       feed,
		"EDGE_TOKEN": token,
		"DYNAMIC":    e.dynamic(t),
	}, t)
	return e
}

// Document returns the dynamic configuration that the spawner has for this edge.
// The question counts as a poll of the edge's, for a second or two.
func (e *Edge) Document() []byte {
	e.t.Helper()
	request, err := http.NewRequest("GET", e.stand.Spawner.APIURL+"/traefik/config?edge="+e.Name, nil)
	must(e.t, err, "ask for a document")
	request.Header.Set("Authorization", "Bearer "+e.token)
	response, err := http.DefaultClient.Do(request)
	must(e.t, err, "ask for a document")
	defer response.Body.Close()
	document, err := io.ReadAll(response.Body)
	must(e.t, err, "read the document")
	if response.StatusCode != http.StatusOK {
		e.t.Fatalf("the feed answers %s: %s", response.Status, document)
	}
	return document
}

// dynamic makes the folder of routes that do not come from the spawner; it is empty.
func (e *Edge) dynamic(t T) string {
	t.Helper()
	dir := filepath.Join(e.stand.Dir, e.Name+"-dynamic")
	must(t, os.MkdirAll(dir, 0o700), "make a folder")
	return dir
}

// write appends a template of the repository, filled in, to the edge's static file.
func (e *Edge) write(template string, values map[string]string, t T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), template))
	must(t, err, "read %s", template)
	var pairs []string
	for key, value := range values {
		pairs = append(pairs, "@"+key+"@", value)
	}
	file, err := os.OpenFile(e.config, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err, "write %s", e.config)
	defer file.Close()
	_, err = file.WriteString(strings.NewReplacer(pairs...).Replace(string(text)))
	must(t, err, "write %s", e.config)
}

// edgeSysctl is what the shipped compose file sets in the network of an edge, as docker run takes it.
func edgeSysctl(t T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), "docker-compose.yml"))
	must(t, err, "read the compose file")
	const name = "net.ipv4.tcp_retries2"
	found := regexp.MustCompile(regexp.QuoteMeta(name) + `: "(\d+)"`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("the compose file sets no %s", name)
	}
	return name + "=" + string(found[1])
}

// flag is how the spawner is told of the edge.
func (e *Edge) flag() string {
	return e.Name + "=" + e.URL + "," + e.TLSURL + ",metrics+" + e.MetricsURL
}

// WaitFed waits until the edge is connected and has confirmed what it received.
func (e *Edge) WaitFed() {
	e.t.Helper()
	Eventually(e.t, readyTime, e.Name+" is fed", func() error {
		if !e.Running() {
			e.t.Fatalf("%s ended while starting:\n%s", e.Name, e.LogTail(30))
		}
		edge, err := e.Status()
		if err != nil {
			return err
		}
		if edge.State != "connected" || edge.Confirmed < edge.Received {
			return fmt.Errorf("it is %s and has confirmed version %d of %d", edge.State, edge.Confirmed, edge.Received)
		}
		return nil
	})
}

// Status returns what the spawner knows of this edge.
func (e *Edge) Status() (fleet.Edge, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	edges, err := e.stand.Client.Edges(ctx)
	if err != nil {
		return fleet.Edge{}, err
	}
	for _, edge := range edges {
		if edge.Name == e.Name {
			return edge, nil
		}
	}
	return fleet.Edge{}, fmt.Errorf("the spawner knows no edge %s", e.Name)
}

// TLSPort returns the port of the TLS entry point.
func (e *Edge) TLSPort() string { return fmt.Sprint(e.webSecurePort) }
