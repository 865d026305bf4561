package daemon

import (
	"context"
	"net/url"

	"edgespawner/fleet"
	"edgespawner/proxyhook/activity"
	"edgespawner/proxyhook/feed"
)

// The labels by which an edge in a container is found, beside its role.
const (
	labelEdge     = "spawner.edge"      // its name
	labelEdgeURLs = "spawner.edge.urls" // as --edge takes them
)

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
			list = append(list, feed.EdgeAddress(edge))
		}
	}
	return list, nil
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
