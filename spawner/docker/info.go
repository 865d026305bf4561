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
		if info, err = n.client.Info(ctx); err == nil {
			n.inSwarm.Store(isMember(info.Swarm))
		}
		return err
	})
	if err != nil {
		return told, err
	}
	return describeNode(told, info), nil
}

// describeNode adds what an engine says of itself to what is known of its node.
func describeNode(n fleet.Node, info system.Info) fleet.Node {
	n.State = fleet.NodeReady
	n.EngineID, n.Version = info.ID, info.ServerVersion
	n.Platform = platform(info.OSType, info.Architecture)
	n.CPUs, n.MemoryMB = info.NCPU, info.MemTotal>>20
	n.SeenAt = time.Now().UTC()
	if isMember(info.Swarm) {
		n.Swarm = &fleet.NodeSwarm{ID: info.Swarm.NodeID, Manager: info.Swarm.ControlAvailable, Waits: waitsFor(info.Swarm)}
	}
	return n
}

// platform writes an engine's platform as images write theirs.
func platform(system, machine string) string {
	if system == "" || machine == "" {
		return ""
	}
	switch machine {
	case "x86_64":
		machine = "amd64"
	case "aarch64":
		machine = "arm64"
	case "armv7l", "armv6l":
		machine = "arm"
	case "i386", "i686":
		machine = "386"
	}
	return system + "/" + machine
}

// Ping asks an engine for a sign of life, for a second at most.
func (p *Pool) Ping(ctx context.Context, nodeName string) (err error) {
	defer p.observed(nodeName, "reach the engine", time.Now(), &err)
	n, err := p.node(nodeName)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err = n.client.Ping(bounded)
	err = translate(ctx, n, "reach the engine", err)
	n.listened(err)
	return err
}
