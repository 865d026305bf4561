package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/system"

	"edgespawner/fleet"
)

// infoTimeout bounds a look at an engine, and pingTimeout a sign of life.
const (
	infoTimeout = 10 * time.Second
	pingTimeout = time.Second
)

// Info asks an engine who it is. With an error the node is told as silent.
func (p *Pool) Info(ctx context.Context, nodeName string) (fleet.Node, error) {
	told := fleet.Node{Name: nodeName, State: fleet.NodeSilent}
	n, err := p.node(nodeName)
	if err != nil {
		return told, err
	}
	told.Endpoint = n.endpoint
	var info system.Info
	err = p.askWithin(ctx, infoTimeout, nodeName, "ask the engine who it is", func(ctx context.Context, n *node) (err error) {
		info, err = n.client.Info(ctx)
		return err
	})
	if err != nil {
		return told, err
	}
	told.State = fleet.NodeReady
	told.EngineID, told.Version = info.ID, info.ServerVersion
	told.CPUs, told.MemoryMB = info.NCPU, info.MemTotal>>20
	told.SeenAt = time.Now().UTC()
	return told, nil
}

// Ping asks an engine for a sign of life, for a second at most.
func (p *Pool) Ping(ctx context.Context, nodeName string) error {
	n, err := p.node(nodeName)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err = n.client.Ping(bounded)
	return translate(ctx, n, "reach the engine", err)
}
