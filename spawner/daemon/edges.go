package daemon

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"

	"edgespawner/fleet"
	"edgespawner/proxyhook/activity"
	"edgespawner/proxyhook/feed"
)

// The labels by which an edge in a container is found, beside its role.
const (
	labelEdge     = "spawner.edge"      // its name
	labelEdgeURLs = "spawner.edge.urls" // as --edge takes them
)

// labelledEdges finds the edges that run as containers on any node. A node that
// does not answer hides its own edges and no other's.
func (s *spawner) labelledEdges(ctx context.Context) ([]feed.EdgeAddress, error) {
	names := s.nodes.names()
	found := make([][]feed.EdgeAddress, len(names))
	failures := make([]error, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { found[i], failures[i] = s.labelledEdgesOn(ctx, name) })
	}
	asking.Wait()
	return slices.Concat(found...), errors.Join(failures...)
}

func (s *spawner) labelledEdgesOn(ctx context.Context, node string) ([]feed.EdgeAddress, error) {
	attendants, err := s.pool.Networks().Attendants(ctx, node)
	var list []feed.EdgeAddress
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
		list = append(list, feed.EdgeAddress(edge))
	}
	return list, err
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
