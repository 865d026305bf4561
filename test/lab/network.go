package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// The addresses of a lab: the network between its nodes is 10.O.0.0/24, the
// machine itself has .1 and node i (from 0) has .11+i. Each engine's own bridge
// is 10.O.(11+i).0/24, its further bridges are of 10.O.(64…127).0/24, overlays of 10.O.128.0/17.
const (
	firstHost    = 11
	firstPool    = 64
	poolsInAll   = 64
	overlayStart = 128
)

// spawnersOverlays is where the spawner makes overlays of its own (docs/operating.md).
const spawnersOverlays = "10.200.0.0/13"

// overlays is where those of the lab's swarm are that nobody cuts.
func (l *Lab) overlays() string { return fmt.Sprintf("10.%d.%d.0/17", l.state.Octet, overlayStart) }

// HostAddress is the address of this machine on the lab's network.
func (l *Lab) HostAddress() string { return fmt.Sprintf("10.%d.0.1", l.state.Octet) }

// bridge is short, because the kernel takes 15 characters.
func (l *Lab) bridge() string {
	sum := fnv.New32a()
	sum.Write([]byte(l.Name))
	return fmt.Sprintf("lab%08x", sum.Sum32())
}

// hardwareAddress is said, since a bridge else takes one of its ports', and
// another when that port goes: nobody would find this machine for half a minute.
func (l *Lab) hardwareAddress() string { return fmt.Sprintf("02:1a:b0:00:%02x:01", l.state.Octet) }

// rules let traffic through the bridge and out of it, past whatever the machine
// forbids; the one that is put in last goes first. What a container sends to an
// overlay that it is not on goes by its engine's default route, and must not leave
// the machine for who has such an address elsewhere.
func (l *Lab) rules() [][]string {
	remark := []string{"-m", "comment", "--comment", "lab-" + l.Name, "-j"}
	subnet := fmt.Sprintf("10.%d.0.0/24", l.state.Octet)
	return [][]string{
		append([]string{"filter", "FORWARD", "-i", l.bridge()}, append(remark, "ACCEPT")...),
		append([]string{"filter", "FORWARD", "-o", l.bridge()}, append(remark, "ACCEPT")...),
		append([]string{"filter", "FORWARD", "-i", l.bridge(), "!", "-o", l.bridge(), "-d", spawnersOverlays}, append(remark, "REJECT")...),
		append([]string{"filter", "FORWARD", "-i", l.bridge(), "!", "-o", l.bridge(), "-d", l.overlays()}, append(remark, "REJECT")...),
		append([]string{"nat", "POSTROUTING", "-s", subnet, "!", "-o", l.bridge()}, append(remark, "MASQUERADE")...),
	}
}

// iptables is the command that adds (-I), looks for (-C) or removes (-D) a rule:
// its table, its chain, and what follows.
func iptables(how string, rule []string) []string {
	return append([]string{"iptables", "-w", "10", "-t", rule[0], how}, rule[1:]...)
}

func (l *Lab) makeBridge(ctx context.Context) error {
	commands := [][]string{
		{"ip", "link", "add", l.bridge(), "address", l.hardwareAddress(), "type", "bridge"},
		{"ip", "addr", "add", l.HostAddress() + "/24", "dev", l.bridge()},
		{"ip", "link", "set", l.bridge(), "up"},
	}
	for _, rule := range l.rules() {
		commands = append(commands, iptables("-I", rule))
	}
	return runAll(ctx, commands)
}

// removeBridge removes the bridge and its rules, as far as they are there.
func (l *Lab) removeBridge(ctx context.Context) error {
	for _, rule := range l.rules() {
		for range 3 { // an interrupted run may have left one twice
			if run(ctx, iptables("-C", rule)...) != nil {
				break
			}
			if err := run(ctx, iptables("-D", rule)...); err != nil {
				return err
			}
		}
	}
	return removeLink(ctx, l.bridge())
}

func removeLink(ctx context.Context, name string) error {
	if _, err := os.Stat(filepath.Join("/sys/class/net", name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return run(ctx, "ip", "link", "del", name)
}

// plugIn gives the node its network namespace and the cable to the bridge.
func (n *Node) plugIn(ctx context.Context) error {
	space := filepath.Base(n.Namespace())
	return runAll(ctx, [][]string{
		{"ip", "netns", "add", space},
		{"ip", "link", "add", n.cable(), "type", "veth", "peer", "name", "eth0", "netns", space},
		{"ip", "link", "set", n.cable(), "master", n.lab.bridge(), "up"},
		{"ip", "-n", space, "link", "set", "lo", "up"},
		{"ip", "-n", space, "addr", "add", n.Address() + "/24", "dev", "eth0"},
		{"ip", "-n", space, "link", "set", "eth0", "up"},
		{"ip", "-n", space, "route", "add", "default", "via", n.lab.HostAddress()},
	})
}

// unplug removes cable and namespace, as far as they are there.
func (n *Node) unplug(ctx context.Context) error {
	if err := removeLink(ctx, n.cable()); err != nil {
		return err
	}
	if _, err := os.Stat(n.Namespace()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return run(ctx, "ip", "netns", "del", filepath.Base(n.Namespace()))
}

// cable is the end of the node's link that is in the bridge.
func (n *Node) cable() string { return fmt.Sprintf("%sn%d", n.lab.bridge(), n.index+1) }

// inside runs a program in the node's network namespace. It sees the machine's
// files and control groups, other than with ip netns exec.
func (n *Node) inside(command ...string) []string {
	return append([]string{"nsenter", "--net=" + n.Namespace()}, command...)
}

// freeOctet returns O such that nothing on this machine has an address in 10.O.0.0/16.
func freeOctet(taken map[int]bool) (int, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return 0, fmt.Errorf("cannot list the addresses of this machine: %w", err)
	}
	for octet := 201; octet < 250; octet++ {
		wanted := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(octet)}), 16)
		free := !taken[octet]
		for _, address := range addresses {
			prefix, err := netip.ParsePrefix(address.String())
			if err == nil && prefix.Overlaps(wanted) {
				free = false
			}
		}
		if free {
			return octet, nil
		}
	}
	return 0, errors.New("no subnet 10.x.0.0/16 with x from 201 to 249 is free for a lab")
}
