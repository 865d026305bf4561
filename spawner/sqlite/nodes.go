package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"edgespawner/fleet"
)

// Nodes is the view of the engines that there are. What is observed of a node
// (its state, version, size) is not stored.
type Nodes struct{ store *Store }

// Nodes returns the view of nodes.
func (s *Store) Nodes() Nodes { return Nodes{s} }

// List returns the nodes, by name, with state unknown.
func (v Nodes) List(ctx context.Context) ([]fleet.StoredNode, error) {
	nodes, err := query(ctx, v.store.reader, scanNode,
		"SELECT name, endpoint, address, labels, engine_id, draining, allow_plain_tcp, joined, sealed FROM nodes ORDER BY name")
	return nodes, failed(err, "list the nodes")
}

// Put stores a node, in place of the one of that name if there is one.
func (v Nodes) Put(ctx context.Context, node fleet.StoredNode) error {
	labels, err := json.Marshal(node.Labels)
	sealed := node.Sealed
	if sealed == nil {
		sealed = []byte{} // nil would be NULL
	}
	if err == nil {
		err = v.store.write(ctx, synced, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx,
				"INSERT OR REPLACE INTO nodes (name, endpoint, address, labels, engine_id, draining, allow_plain_tcp, joined, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
				node.Name, node.Endpoint, node.Address, string(labels), node.EngineID, node.Draining, node.AllowPlainTCP, node.Joined, sealed)
			return err
		})
	}
	return failed(err, "store node %q", node.Name)
}

// Remove removes a node.
func (v Nodes) Remove(ctx context.Context, name string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM nodes WHERE name = ?", name)
		return touched(result, err, "node", name)
	})
	return failed(err, "remove node %q", name)
}

func scanNode(row scanner) (fleet.StoredNode, error) {
	node := fleet.StoredNode{Node: fleet.Node{State: fleet.NodeUnknown}}
	var labels string
	if err := row.Scan(&node.Name, &node.Endpoint, &node.Address, &labels, &node.EngineID, &node.Draining, &node.AllowPlainTCP, &node.Joined, &node.Sealed); err != nil {
		return node, err
	}
	if err := json.Unmarshal([]byte(labels), &node.Labels); err != nil {
		return node, fmt.Errorf("the labels of node %q are not readable: %w", node.Name, err)
	}
	return node, nil
}
