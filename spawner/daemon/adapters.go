package daemon

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/proxyhook"
	"edgespawner/proxyhook/activity"
	"edgespawner/proxyhook/feed"
	"edgespawner/spawner/docker"
	"edgespawner/spawner/engine"
)

// The labels by which an edge in a container is found, beside its role.
const (
	labelEdge     = "spawner.edge"      // its name
	labelEdgeURLs = "spawner.edge.urls" // as --edge takes them
)

// router is the feed, and the labels that an edge of somebody's own reads.
type router struct {
	*feed.Feed
	settings proxyhook.Settings
}

func (r *router) Labels(spec fleet.Spec, port int) map[string]string {
	return proxyhook.ContainerLabels(r.settings, spec, port)
}

// nodes tells the engine which nodes there are, as they are now.
type nodes struct {
	pool  *docker.Pool
	names []string
}

func (n *nodes) List(ctx context.Context) ([]fleet.Node, error) {
	list := make([]fleet.Node, 0, len(n.names))
	for _, name := range n.names {
		node, err := n.pool.Info(ctx, name)
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		list = append(list, node) // one that does not answer is told as silent
	}
	return list, nil
}

// match asks the newest rules which service a request belongs to.
func (s *spawner) match(r *http.Request) (service string, guarded, ok bool) {
	matcher := s.feed.Matcher()
	if matcher == nil {
		return "", false, false
	}
	return matcher.Match(r)
}

// questions are the engine's, but for readiness, which ends with the shutdown.
func (s *spawner) questions() *questions { return &questions{Engine: s.engine, spawner: s} }

type questions struct {
	*engine.Engine
	spawner *spawner
}

func (q *questions) Ready() error {
	if q.spawner.ending.Load() {
		return fleet.Errorf(fleet.Unavailable, "the spawner is being shut down")
	}
	return q.Engine.Ready()
}

// Service adds where clients reach it.
func (q *questions) Service(name string) (fleet.ServiceDetail, error) {
	detail, err := q.Engine.Service(name)
	if err == nil {
		detail.URLs = q.spawner.urls(detail.Spec.Route)
	}
	return detail, err
}

// urls are the addresses of a route's hosts; the ports that clients use are in the configuration.
func (s *spawner) urls(route *fleet.Route) []string {
	if route == nil {
		return nil
	}
	scheme, port, usual := "http", s.config.HTTPPort, DefaultHTTPPort
	if route.TLS {
		scheme, port, usual = "https", s.config.HTTPSPort, DefaultHTTPSPort
	}
	list := make([]string, 0, len(route.Hosts))
	for _, host := range route.Hosts {
		if port != usual {
			host = net.JoinHostPort(host, strconv.Itoa(port))
		}
		list = append(list, scheme+"://"+host+cmp.Or(route.PathPrefix, "/"))
	}
	return list
}

// Why adds what the edges have to say of the service.
func (q *questions) Why(name string) (fleet.Why, error) {
	why, err := q.Engine.Why(name)
	if err == nil {
		why.Reasons = append(why.Reasons, q.spawner.feed.Why(name)...)
	}
	return why, err
}

// labelledEdges finds the edges that run as containers.
func (s *spawner) labelledEdges(ctx context.Context) ([]feed.EdgeAddress, error) {
	var list []feed.EdgeAddress
	for _, node := range s.nodes.names {
		attendants, err := s.pool.Networks().Attendants(ctx, node)
		if err != nil {
			return nil, err
		}
		for _, c := range attendants {
			name := c.Labels[labelEdge]
			if c.Labels[fleet.LabelRole] != string(fleet.RoleEdge) || name == "" {
				continue
			}
			edge, err := ParseEdge(name + "=" + c.Labels[labelEdgeURLs])
			if err != nil {
				s.log.Warn("An edge's labels cannot be read", "container", c.Name, "error", err)
				continue
			}
			list = append(list, feed.EdgeAddress{Name: edge.Name, Web: edge.Web, WebSecure: edge.WebSecure, Metrics: edge.Metrics})
		}
	}
	return list, nil
}

// knownEdges remembers the names of edges across restarts.
type knownEdges struct {
	settings settings
	log      *slog.Logger

	mu    sync.Mutex
	names []string
}

const knownEdgesKey = "known-edges"

func (k *knownEdges) load(ctx context.Context) ([]string, error) {
	stored, known, err := k.settings.Get(ctx, knownEdgesKey)
	if err != nil || !known {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := json.Unmarshal([]byte(stored), &k.names); err != nil {
		return nil, fmt.Errorf("cannot read the stored names of edges: %w", err)
	}
	return slices.Clone(k.names), nil
}

func (k *knownEdges) add(name string) {
	k.change(func(names []string) []string {
		if slices.Contains(names, name) {
			return names
		}
		return append(names, name)
	})
}

func (k *knownEdges) remove(name string) {
	k.change(func(names []string) []string {
		return slices.DeleteFunc(names, func(other string) bool { return other == name })
	})
}

func (k *knownEdges) change(f func([]string) []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.names = f(k.names)
	data, err := json.Marshal(k.names)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = k.settings.Set(ctx, knownEdgesKey, string(data))
	}
	if err != nil {
		k.log.Error("Cannot remember the names of edges", "error", err)
	}
}

// rootFS is a tar archive that holds one program.
func rootFS(path, name string) (io.ReadCloser, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the program %s: %w", path, err)
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	if err := writer.WriteHeader(&tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o755, Size: int64(len(data))}); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	if _, err := writer.Write(data); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	return io.NopCloser(&archive), nil
}

// metricsPages are the Prometheus pages of the edges. An edge that has none is
// among them: what it counts is not known, and nothing may be concluded.
func (s *spawner) metricsPages() []activity.Page {
	addresses := s.feed.Addresses()
	pages := make([]activity.Page, len(addresses))
	for i, edge := range addresses {
		pages[i] = activity.Page{Edge: edge.Name, URL: metricsPage(edge.Metrics)}
	}
	return pages
}

// metricsPage adds the usual path to an address that has none.
func metricsPage(address string) string {
	u, err := url.Parse(address)
	if err != nil || address == "" || u.Path != "" && u.Path != "/" {
		return address
	}
	return u.JoinPath("metrics").String()
}
