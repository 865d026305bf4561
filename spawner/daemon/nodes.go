package daemon

import (
	"context"

	"edgespawner/fleet"
	"edgespawner/spawner/docker"
)

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
