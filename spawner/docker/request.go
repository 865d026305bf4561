package docker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"edgespawner/fleet"
)

// The limits of a container's logs on its node.
const (
	logSize  = "10m"
	logFiles = "3"
)

// createRequest is the engine's form of a container to be created.
func (p *Pool) createRequest(c fleet.ContainerConfig) (*container.Config, *container.HostConfig, *network.NetworkingConfig) {
	exposed, bindings := portMaps(c.Ports)
	body := &container.Config{
		Image:        c.Image,
		Hostname:     c.Hostname,
		Labels:       p.owned(c.Labels),
		Env:          environment(c.Env),
		Entrypoint:   c.Entrypoint,
		Cmd:          c.Command,
		User:         c.User,
		WorkingDir:   c.Workdir,
		StopSignal:   c.StopSignal,
		ExposedPorts: exposed,
	}
	host := &container.HostConfig{
		NetworkMode:   networkMode(c),
		PortBindings:  bindings,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(c.Restart)},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": logFiles}},
		Resources:     container.Resources{CPUShares: int64(c.CPUShares)},
		Mounts:        p.mounts(c.Volumes),
	}
	if c.MemoryMB > 0 {
		host.Resources.Memory = int64(c.MemoryMB) << 20
		host.Resources.MemorySwap = host.Resources.Memory // a hard limit has no swap beside it
	}
	networking := &network.NetworkingConfig{}
	if len(c.Networks) > 0 && c.SandboxID == "" {
		first := c.Networks[0]
		networking.EndpointsConfig = map[string]*network.EndpointSettings{first.Network: endpointSettings(first, 1)}
	}
	return body, host, networking
}

// mounts are the volumes in the engine's form. One that is not there is made by
// the engine with these labels; one that is keeps its own.
func (p *Pool) mounts(volumes []fleet.Volume) []mount.Mount {
	var mounts []mount.Mount
	for _, volume := range volumes {
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeVolume, Source: volume.Name, Target: volume.Path, ReadOnly: volume.ReadOnly,
			VolumeOptions: &mount.VolumeOptions{Labels: p.owned(nil)},
		})
	}
	return mounts
}

// networkMode is the sandbox's network for an app, the first network for a
// sandbox, and none for what has no network.
func networkMode(c fleet.ContainerConfig) container.NetworkMode {
	switch {
	case c.SandboxID != "":
		return container.NetworkMode("container:" + c.SandboxID)
	case len(c.Networks) > 0:
		return container.NetworkMode(c.Networks[0].Network)
	default:
		return container.NetworkMode("none")
	}
}

// environment is sorted, so that the same spec makes the same container.
func environment(env map[string]fleet.Secret) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(env)) {
		list = append(list, key+"="+env[key].Reveal())
	}
	return list
}

// portMaps are the engine's two forms of published ports.
func portMaps(ports []fleet.Port) (nat.PortSet, nat.PortMap) {
	exposed, bindings := nat.PortSet{}, nat.PortMap{}
	for _, port := range ports {
		if port.HostPort == 0 {
			continue
		}
		key := nat.Port(fmt.Sprintf("%d/%s", port.ContainerPort, protocol(port.Protocol)))
		exposed[key] = struct{}{}
		bindings[key] = append(bindings[key], nat.PortBinding{HostIP: hostIP(port.HostIP), HostPort: strconv.Itoa(port.HostPort)})
	}
	return exposed, bindings
}

func protocol(name string) string {
	if name == "" {
		return "tcp"
	}
	return name
}

func hostIP(ip string) string {
	if ip == "" {
		return anyIPv4
	}
	return ip
}
