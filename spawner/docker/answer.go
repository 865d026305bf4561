package docker

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"edgespawner/fleet"
)

// milliCPUs is the limit that docker update --cpus sets, or --cpu-quota; 0 = none.
func milliCPUs(r container.Resources) int {
	const defaultPeriod = 100_000 // µs, of the kernel
	if r.NanoCPUs > 0 || r.CPUQuota <= 0 {
		return int(r.NanoCPUs / 1e6)
	}
	period := cmp.Or(r.CPUPeriod, defaultPeriod)
	return int(1000 * r.CPUQuota / period)
}

// listed is a container as a list tells it.
func listed(nodeName string, s container.Summary) fleet.Container {
	c := fleet.Container{
		ID: s.ID, Node: nodeName, Image: s.Image, ImageID: s.ImageID, Labels: s.Labels,
		Status:    fleet.ContainerStatus(s.State),
		Health:    healthOfStatus(s.Status),
		CreatedAt: time.Unix(s.Created, 0).UTC(),
		SandboxID: joined(s.HostConfig.NetworkMode),
	}
	if code, found := exitOfStatus(s.Status); found {
		c.ExitCode = code
	}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	if s.NetworkSettings != nil {
		c.Addresses = addresses(s.NetworkSettings.Networks)
	}
	for _, port := range s.Ports {
		if port.PublicPort != 0 {
			c.Ports = append(c.Ports, fleet.Port{ContainerPort: int(port.PrivatePort), HostPort: int(port.PublicPort), HostIP: port.IP, Protocol: port.Type})
		}
	}
	sortPorts(c.Ports)
	return c
}

// inspected is a container as an inspect tells it.
func inspected(nodeName string, a container.InspectResponse) fleet.Container {
	c := fleet.Container{Node: nodeName, Health: fleet.Unknown}
	if base := a.ContainerJSONBase; base != nil {
		c.ID, c.Name, c.ImageID = base.ID, strings.TrimPrefix(base.Name, "/"), base.Image
		c.CreatedAt = parseTime(base.Created)
		if base.HostConfig != nil {
			c.SandboxID = joined(string(base.HostConfig.NetworkMode))
			c.Ports = bound(base.HostConfig.PortBindings)
			c.RestartPolicy = string(base.HostConfig.RestartPolicy.Name)
			c.MemoryMB, c.CPUShares = int(base.HostConfig.Memory>>20), int(base.HostConfig.CPUShares)
			c.MilliCPUs = milliCPUs(base.HostConfig.Resources)
		}
		readState(&c, base.State)
	}
	if a.Config != nil {
		c.Image, c.Labels, c.Env = a.Config.Image, a.Config.Labels, secrets(a.Config.Env)
	}
	if a.NetworkSettings != nil {
		c.Addresses = addresses(a.NetworkSettings.Networks)
	}
	return c
}

func readState(c *fleet.Container, s *container.State) {
	if s == nil {
		return
	}
	c.Status = fleet.ContainerStatus(s.Status)
	c.PID, c.ExitCode, c.OOMKilled, c.Error = s.Pid, s.ExitCode, s.OOMKilled, s.Error
	c.StartedAt, c.FinishedAt = parseTime(s.StartedAt), parseTime(s.FinishedAt)
	if s.Health != nil {
		c.Health = healthOf(string(s.Health.Status))
	}
}

// joined is the container whose network this mode joins.
func joined(mode string) string {
	id, _ := strings.CutPrefix(mode, "container:")
	if id == mode {
		return ""
	}
	return id
}

func addresses(networks map[string]*network.EndpointSettings) map[string]netip.Addr {
	found := make(map[string]netip.Addr, len(networks))
	for name, endpoint := range networks {
		if endpoint == nil {
			continue
		}
		if ip, err := netip.ParseAddr(endpoint.IPAddress); err == nil {
			found[name] = ip
		} else if ip, err := netip.ParseAddr(endpoint.GlobalIPv6Address); err == nil {
			found[name] = ip
		}
	}
	return found
}

// bound are the ports that a container publishes when it runs.
func bound(bindings nat.PortMap) []fleet.Port {
	var ports []fleet.Port
	for key, list := range bindings {
		for _, b := range list {
			if host, err := strconv.Atoi(b.HostPort); err == nil && host != 0 {
				ports = append(ports, fleet.Port{ContainerPort: key.Int(), HostPort: host, HostIP: hostIP(b.HostIP), Protocol: key.Proto()})
			}
		}
	}
	sortPorts(ports)
	return ports
}

func sortPorts(ports []fleet.Port) {
	slices.SortFunc(ports, func(a, b fleet.Port) int {
		if a.HostPort != b.HostPort {
			return a.HostPort - b.HostPort
		}
		return strings.Compare(a.Protocol+a.HostIP, b.Protocol+b.HostIP)
	})
}

func secrets(env []string) map[string]fleet.Secret {
	found := make(map[string]fleet.Secret, len(env))
	for _, line := range env {
		key, value, _ := strings.Cut(line, "=")
		found[key] = fleet.Secret(value)
	}
	return found
}

// healthOf reads the engine's word for a health.
func healthOf(word string) fleet.Health {
	switch word {
	case "healthy":
		return fleet.Healthy
	case "unhealthy":
		return fleet.Unhealthy
	case "starting":
		return fleet.Starting
	default:
		return fleet.Unknown
	}
}

// healthOfStatus reads it out of a list's "Up 3 minutes (health: starting)".
func healthOfStatus(status string) fleet.Health {
	_, word, found := strings.Cut(status, "(")
	if !found || !strings.HasPrefix(status, "Up") {
		return fleet.Unknown
	}
	word, _, _ = strings.Cut(word, ")")
	return healthOf(strings.TrimPrefix(word, "health: "))
}

// exitOfStatus reads the code out of a list's "Exited (137) 3 minutes ago".
func exitOfStatus(status string) (code int, found bool) {
	word, found := strings.CutPrefix(status, "Exited (")
	if !found {
		return 0, false
	}
	word, _, _ = strings.Cut(word, ")")
	code, err := strconv.Atoi(word)
	return code, err == nil
}

// parseTime reads a time of the engine; its year 1 means never and becomes zero.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}
