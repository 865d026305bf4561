package daemon

import (
	"cmp"
	"context"
	"net"
	"strconv"

	"edgespawner/fleet"
	"edgespawner/spawner/engine"
)

// questions are the engine's, but for readiness, which ends with the shutdown.
func (s *spawner) questions() *questions { return &questions{Engine: s.engine, spawner: s} }

type questions struct {
	*engine.Engine
	spawner *spawner
}

func (q *questions) Ready() (note string, err error) {
	if q.spawner.ending.Load() {
		return "", fleet.Errorf(fleet.Unavailable, "the spawner is being shut down")
	}
	return q.Engine.Frozen(), q.Engine.Ready()
}

// Nodes adds when each engine last answered.
func (q *questions) Nodes(ctx context.Context) ([]fleet.Node, error) {
	nodes, err := q.Engine.Nodes(ctx)
	for i := range nodes {
		nodes[i].SeenAt = q.spawner.pool.Heard(nodes[i].Name)
	}
	return nodes, err
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
