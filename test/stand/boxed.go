package stand

import (
	"fmt"
	"net"

	"edgespawner/fleet"
)

// Boxed runs the edges as containers on the engine's own bridge, with published
// ports, as the compose file does: the spawner has to bring them onto the
// networks of its services.
func Boxed() Option { return func(o *options) { o.boxed = true } }

// box makes the edge a container, and its ways to the spawner lead over the bridge.
func (e *Edge) box(t T) {
	t.Helper()
	program := traefikBinary(t)
	args := []string{"run", "--rm", "--name", e.stand.Name(e.Name), "--entrypoint", "/traefik", "--sysctl", edgeSysctl(t),
		"--label", fmt.Sprintf("%s=%s", fleet.LabelRole, fleet.RoleEdge), "--label", fleet.LabelFleet + "=" + e.stand.FleetID,
		"--volume", program + ":/traefik:ro", "--volume", e.stand.Dir + ":" + e.stand.Dir,
	}
	for _, port := range []int{e.webPort, e.webSecurePort, e.metricsPort} {
		args = append(args, "--publish", fmt.Sprintf("127.0.0.1:%d:%d", port, port))
	}
	e.Process = newProcess(t, e.stand.Dir, e.Name, "docker", append(args, SandboxImage, "--configFile="+e.config), nil)
}

// overBridge listens on this host's address on the engine's bridge until the
// test ends, and hands each connection on to a port of the loopback.
func overBridge(t T, port int) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(bridgeAddress(t), "0"))
	must(t, err, "listen on the engine's bridge")
	t.Cleanup(handOnAll(listener, func() (net.Conn, error) { return net.Dial("tcp", loopback(port)) }))
	return listener.Addr().String()
}
