//go:build e2e

package docker

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"edgespawner/fleet"
)

// realSSHD runs OpenSSH's own sshd on a loopback port, and returns the endpoint
// of this machine's engine behind it, and how to log in.
func realSSHD(t *testing.T) (endpoint string, material fleet.NodeSSH) {
	t.Helper()
	dir := t.TempDir()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	_, hostKey := newKey(t)
	mine, private := newKey(t)
	for name, content := range map[string][]byte{"host": []byte(hostKey.Reveal()), "authorized": ssh.MarshalAuthorizedKey(mine.PublicKey())} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, err := ssh.ParsePrivateKey([]byte(hostKey.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	config := fmt.Sprintf("ListenAddress %s\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n", address, dir, dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // its own package makes it at boot
		t.Fatal(err)
	}
	var output bytes.Buffer
	daemon := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "config"))
	daemon.Stderr = &output
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Kill()
		daemon.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", output.String())
		}
	})
	return "ssh://" + me.Username + "@" + address, fleet.NodeSSH{Key: private, HostKey: ssh.FingerprintSHA256(host.PublicKey())}
}

func TestARealSSHDLeadsToItsEngine(t *testing.T) {
	endpoint, material := realSSHD(t)
	pool := New(testFleet, discard)
	defer pool.Close()
	node := fleet.Node{Name: "far", Endpoint: endpoint}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var told fleet.Node
	for { // until it listens
		var err error
		if told, err = pool.Try(ctx, node, WithSSH(material)); err == nil {
			break
		}
		if fleet.KindOf(err) != fleet.Unavailable || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if err := pool.Add(node, WithSSH(material)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	began := time.Now()
	for range 30 {
		all.Go(func() {
			if again, err := pool.Info(ctx, "far"); err != nil || again.EngineID != told.EngineID {
				t.Errorf("got %+v, %v", again, err)
			}
		})
	}
	all.Wait()
	t.Logf("30 calls at once over one connection, the first among them: %s", time.Since(began))
	watching, stop := context.WithCancel(ctx)
	notices := pool.Watcher().Watch(watching, "far")
	if first := <-notices; first.Action != fleet.NoticeConnected {
		t.Errorf("the engine's events: %+v", first)
	}
	stop()
	for range notices { // until it is closed
	}
}
