package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"edgespawner/fleet"
)

// Nodes lists the nodes.
func (c *Client) Nodes(ctx context.Context) (nodes []fleet.Node, err error) {
	err = c.get(ctx, &nodes, nil, "api", "nodes")
	return nodes, err
}

// NodesInUse lists the nodes with what is used of each, which takes a moment.
func (c *Client) NodesInUse(ctx context.Context) (nodes []fleet.Node, err error) {
	err = c.get(ctx, &nodes, url.Values{"used": {"true"}}, "api", "nodes")
	return nodes, err
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, name string) (node fleet.Node, err error) {
	err = c.get(ctx, &node, nil, "api", "nodes", name)
	return node, err
}

// AddNode makes an engine a node. Its credentials are sent as they are, not redacted.
func (c *Client) AddNode(ctx context.Context, spec fleet.NodeSpec) (node fleet.Node, err error) {
	if c.clear {
		return node, refuseClear(c.shown)
	}
	body, err := spec.Reveal()
	if err != nil {
		return node, fmt.Errorf("cannot ask for node %q: %w", spec.Name, err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "nodes"}, body: body}, &node)
	return node, err
}

// RemoveNode lets a node go; with force although replicas are there.
func (c *Client) RemoveNode(ctx context.Context, name string, force bool) error {
	var query url.Values
	if force {
		query = url.Values{"force": {"true"}}
	}
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "nodes", name}, query: query}, nil)
}

// DrainNode moves the replicas of a node away and lets nothing new on it.
func (c *Client) DrainNode(ctx context.Context, name string) (node fleet.Node, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "nodes", name, "drain"}}, &node)
	return node, err
}

// ResumeNode lets replicas on a node again.
func (c *Client) ResumeNode(ctx context.Context, name string) (node fleet.Node, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "nodes", name, "resume"}}, &node)
	return node, err
}
