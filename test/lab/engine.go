package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// engineTime is how long an engine may take to answer after its start.
const engineTime = 60 * time.Second

func (n *Node) execRoot() string { return filepath.Join(n.dir(), "exec") }
func (n *Node) dataRoot() string { return filepath.Join(n.dir(), "data") }
func (n *Node) pidFile() string  { return filepath.Join(n.dir(), "engine.pid") }

// containerdFile is where an engine writes the number of its containerd.
func (n *Node) containerdFile() string {
	return filepath.Join(n.execRoot(), "containerd", "containerd.pid")
}

// StartEngine starts the engine unless it runs, and returns when it answers.
func (n *Node) StartEngine(ctx context.Context) error {
	if n.state().Engine.alive() {
		return n.awaitEngine(ctx)
	}
	if err := n.configure(); err != nil {
		return err
	}
	for _, file := range []string{n.pidFile(), n.containerdFile()} {
		if err := removeStale(file); err != nil {
			return fmt.Errorf("cannot start the engine of %s: %w", n.Name, err)
		}
	}
	if err := n.launch(); err != nil {
		return fmt.Errorf("cannot start the engine of %s: %w", n.Name, err)
	}
	return n.awaitEngine(ctx)
}

// removeStale removes a pid file whose process is gone: an engine that was
// killed has left it, and a new one would believe it, even of a zombie.
func removeStale(file string) error {
	running, err := processIn(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case running.alive():
		return nil
	}
	return os.Remove(file)
}

// processIn returns the process whose number stands in a file.
func processIn(file string) (process, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return process{}, nil // half written: of nobody
	}
	return processOf(pid), nil
}

// settle gives an engine the host name $0 and a folder $1 of its own in place of
// /etc/docker, where older ones keep who they are, and becomes it.
const settle = `echo "$0" >/proc/sys/kernel/hostname && mkdir -p /etc/docker && mount --bind "$1" /etc/docker && exec dockerd --config-file "$2"`

// launch runs dockerd, with its own view of mounts, so that these end with it
// and not with the machine.
func (n *Node) launch() error {
	log, err := os.OpenFile(n.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	line := n.inside("sh", "-c", settle, n.Name, filepath.Join(n.dir(), "etc"), n.configFile())
	command := exec.Command(line[0], line[1:]...)
	command.Stdout, command.Stderr = log, log
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir()}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	if err := command.Start(); err != nil {
		return err
	}
	engine := processOf(command.Process.Pid)
	go func() { _ = command.Wait() }() // how it ended stands in its log
	return n.change(func(s *nodeState) { s.Engine = engine })
}

func (n *Node) configFile() string { return filepath.Join(n.dir(), "daemon.json") }

// configure writes the engine's own configuration file: the machine's says
// where the data of the machine's engine is.
func (n *Node) configure() error {
	octet := n.lab.state.Octet
	share := poolsInAll / len(n.lab.Nodes)
	var pools []map[string]any
	for i := range share {
		pools = append(pools, map[string]any{"base": fmt.Sprintf("10.%d.%d.0/24", octet, firstPool+n.index*share+i), "size": 24})
	}
	text, err := json.MarshalIndent(map[string]any{
		"data-root": n.dataRoot(), "exec-root": n.execRoot(), "pidfile": n.pidFile(),
		"hosts": []string{"unix://" + n.Socket(), n.Endpoint()},
		"tls":   true, "tlsverify": true, "tlscacert": n.lab.CAFile(),
		"tlscert": filepath.Join(n.dir(), "cert.pem"), "tlskey": filepath.Join(n.dir(), "key.pem"),
		"bip":                   fmt.Sprintf("10.%d.%d.1/24", octet, firstHost+n.index),
		"default-address-pools": pools,
		"cgroup-parent":         n.controlGroup(),
		"exec-opts":             []string{"native.cgroupdriver=cgroupfs"}, // systemd would not take such a group
		"live-restore":          n.state().LiveRestore,
		"log-driver":            "json-file",
		"group":                 "root",
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot configure the engine of %s: %w", n.Name, err)
	}
	if err := os.WriteFile(n.configFile(), text, 0o600); err != nil {
		return fmt.Errorf("cannot configure the engine of %s: %w", n.Name, err)
	}
	return nil
}

// awaitEngine waits until the engine answers on its socket and listens on its address.
func (n *Node) awaitEngine(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(engineTime)
	for {
		err := n.ping(ctx)
		if err == nil {
			return nil
		}
		if !n.state().Engine.alive() {
			return fmt.Errorf("the engine of %s ended while starting: %s", n.Name, n.lastWords())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the engine of %s does not answer within %v: %w", n.Name, engineTime, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// ping asks the engine whether it is there, past all networks.
func (n *Node) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.Socket())
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("its ping is answered by %s", response.Status)
	}
	return nil
}

// lastWords returns the last line of the engine's log.
func (n *Node) lastWords() string {
	text, err := os.ReadFile(n.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// KillEngine ends dockerd by SIGKILL. Its containers go on; its pid file stays.
func (n *Node) KillEngine() error {
	if err := n.state().Engine.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("cannot kill the engine of %s: %w", n.Name, err)
	}
	return n.awaitEnd()
}

// StopEngine ends dockerd as its operator does. Without live-restore it stops its containers.
func (n *Node) StopEngine() error {
	if err := n.state().Engine.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("cannot stop the engine of %s: %w", n.Name, err)
	}
	return n.awaitEnd()
}

// awaitEnd waits until dockerd is gone, and its containerd, which the kernel ends
// with it: an engine that starts sooner believes that one's pid file, and waits for it in vain.
func (n *Node) awaitEnd() error {
	containerd, err := processIn(n.containerdFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot tell whether the engine of %s has ended: %w", n.Name, err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); n.state().Engine.alive() || containerd.alive(); <-ticker.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("the engine of %s does not end", n.Name)
		}
	}
	return nil
}

// Freeze stops dockerd by SIGSTOP: it is there, connections to it are taken,
// and nothing is answered. Containers go on.
func (n *Node) Freeze() error {
	if err := n.state().Engine.signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("cannot freeze the engine of %s: %w", n.Name, err)
	}
	return nil
}

// Thaw lets a frozen dockerd go on.
func (n *Node) Thaw() error {
	if err := n.state().Engine.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("cannot thaw the engine of %s: %w", n.Name, err)
	}
	return nil
}
