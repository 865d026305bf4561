package engine

import (
	"context"

	"edgespawner/fleet"
)

// UpdateNode takes what the user, and the engine if it answered, say of a node
// now. NotFound for one that is not followed.
func (e *Engine) UpdateNode(_ context.Context, node fleet.Node) error {
	m, ok := e.members.get(node.Name)
	if !ok {
		return unknownNode(node.Name)
	}
	m.update(node)
	if node.State == fleet.NodeReady {
		m.told(node)
	}
	return nil
}
