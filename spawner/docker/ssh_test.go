package docker

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"edgespawner/fleet"
)

// sshd is a machine that lets one key in and leads channels to an engine.
type sshd struct {
	address string
	host    ssh.Signer   // its Ed25519 key
	second  ssh.Signer   // another key of its own, of the kind that a client of this library would ask for
	key     fleet.Secret // that is let in
	logins  atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
}

func newKey(t *testing.T) (ssh.Signer, fleet.Secret) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, fleet.Secret(pem.EncodeToMemory(block))
}

func newECDSAKey(t *testing.T) ssh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// startSSHD begins one; only sockets named engine.sock are there behind it.
func startSSHD(t *testing.T, engine http.Handler) *sshd {
	t.Helper()
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &sshd{address: listener.Addr().String()}
	d.host, _ = newKey(t)
	d.second = newECDSAKey(t)
	user, private := newKey(t)
	d.key = private
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	config.AddHostKey(d.host)
	config.AddHostKey(d.second)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns = append(d.conns, conn)
			d.mu.Unlock()
			serving.Go(func() { d.serve(conn, config, server.Listener.Addr().String()) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		d.cut()
		serving.Wait()
	})
	return d
}

func (d *sshd) serve(conn net.Conn, config *ssh.ServerConfig, engine string) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	d.logins.Add(1)
	go ssh.DiscardRequests(requests)
	for asked := range channels {
		var where struct {
			Socket, Reserved string
			Number           uint32
		}
		if err := ssh.Unmarshal(asked.ExtraData(), &where); err != nil || asked.ChannelType() != "direct-streamlocal@openssh.com" {
			asked.Reject(ssh.UnknownChannelType, "what?")
			continue
		}
		if where.Socket == "/run/silent.sock" {
			continue // never answered
		}
		if !strings.HasSuffix(where.Socket, "/engine.sock") {
			asked.Reject(ssh.ConnectionFailed, "open failed")
			continue
		}
		go join(asked, engine)
	}
}

func join(asked ssh.NewChannel, engine string) {
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	far, err := net.Dial("tcp", engine)
	if err != nil {
		channel.Close()
		return
	}
	go func() {
		io.Copy(far, channel)
		far.Close()
	}()
	io.Copy(channel, far)
	channel.Close()
}

// cut ends all connections.
func (d *sshd) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		conn.Close()
	}
	d.conns = nil
}

func (d *sshd) fingerprint() string { return ssh.FingerprintSHA256(d.host.PublicKey()) }

func (d *sshd) node() fleet.Node {
	return fleet.Node{Name: "n", Endpoint: "ssh://me@" + d.address + "/run/engine.sock"}
}

func sshEngine(t *testing.T) *fakeEngine {
	f := newFakeEngine(t)
	f.on("GET /info", 200, map[string]any{"ID": "E1", "NCPU": 2, "MemTotal": 1 << 30, "ServerVersion": "20.10"})
	f.on("GET /containers/json", 200, []any{})
	return f
}

func TestAllCallsShareOneSSHConnectionAndItIsMadeAnew(t *testing.T) {
	d := startSSHD(t, sshEngine(t))
	p := New("f1", discard)
	defer p.Close()
	if err := p.Add(d.node(), WithSSH(fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()})); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				if _, err := p.Containers().List(t.Context(), "n"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := d.logins.Load(); got != int32(round+1) {
			t.Errorf("after %d cuts: %d connections", round, got)
		}
		n, _ := p.node("n")
		n.tunnel.mu.Lock()
		client := n.tunnel.client
		n.tunnel.mu.Unlock()
		d.cut()
		client.Wait()
	}
}

func TestAnSSHDIsTrustedByItsKeyAlone(t *testing.T) {
	d := startSSHD(t, sshEngine(t))
	_, stranger := newKey(t)
	other, _ := newKey(t)
	line := func(key ssh.PublicKey) string { return knownhosts.Line([]string{d.address}, key) + "\n" }
	for name, c := range map[string]struct {
		material     fleet.NodeSSH
		kind         fleet.Kind
		field, words string
	}{
		"pinned":                  {fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()}, "", "", ""},
		"known":                   {fleet.NodeSSH{Key: d.key, KnownHosts: line(d.host.PublicKey())}, "", "", ""},
		"pinned to its other key": {fleet.NodeSSH{Key: d.key, HostKey: ssh.FingerprintSHA256(d.second.PublicKey())}, "", "", ""},
		"pinned to another":       {fleet.NodeSSH{Key: d.key, HostKey: ssh.FingerprintSHA256(other.PublicKey())}, fleet.Invalid, "ssh.host_key", d.fingerprint() + " (ssh-ed25519), which is not the one that is known"},
		"known as another":        {fleet.NodeSSH{Key: d.key, KnownHosts: line(other.PublicKey())}, fleet.Invalid, "ssh.host_key", d.fingerprint()},
		"not known":               {fleet.NodeSSH{Key: d.key, KnownHosts: "# nobody\n"}, fleet.Invalid, "ssh.host_key", "accept it with --ssh-host-key " + d.fingerprint()},
		"a key of nobody's":       {fleet.NodeSSH{Key: stranger, HostKey: d.fingerprint()}, fleet.Invalid, "ssh.key", "authorized_keys"},
		"no key":                  {fleet.NodeSSH{Key: "rubbish"}, fleet.Invalid, "ssh.key", "is no private key"},
		"no known_hosts":          {fleet.NodeSSH{Key: d.key, KnownHosts: "rubbish"}, fleet.Invalid, "ssh.known_hosts", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			p := New("f1", discard)
			defer p.Close()
			told, err := p.Try(t.Context(), d.node(), WithSSH(c.material))
			switch {
			case c.kind != "":
				wantError(t, err, c.kind, c.field, c.words)
			case err != nil || told.EngineID != "E1":
				t.Errorf("got %+v, %v", told, err)
			}
		})
	}
}

func TestAMachineWithoutAnEngineOrAnSSHDIsSaid(t *testing.T) {
	d := startSSHD(t, sshEngine(t))
	p := New("f1", discard)
	defer p.Close()
	node := d.node()
	node.Endpoint = "ssh://me@" + d.address
	_, err := p.Try(t.Context(), node, WithSSH(fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()}))
	wantError(t, err, fleet.Unavailable, "endpoint", "no engine answers at /var/run/docker.sock")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	node.Endpoint = "ssh://me@" + listener.Addr().String()
	_, err = p.Try(t.Context(), node, WithSSH(fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()}))
	wantError(t, err, fleet.Unavailable, "endpoint", "no sshd listens")
}

func TestAMachineThatIsAwayIsNotKnockedAtByEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials int
		tunnel := &tunnel{address: "away:22", login: &sshLogin{hostKey: "x", getenv: func(string) string { return "" }, home: os.UserHomeDir}}
		tunnel.dialTCP = func(context.Context, string, string) (net.Conn, error) {
			dials++
			return nil, os.ErrDeadlineExceeded
		}
		for range 600 { // a minute of calls
			if _, err := tunnel.dial(t.Context(), "", ""); err == nil {
				t.Fatal("it is there")
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 0.1, 0.2 … 3.2 s, then every 5 s
		if dials < 10 || dials > 20 {
			t.Errorf("dialled %d times", dials)
		}
	})
}

func TestARemovedNodeGivesItsSSHConnectionBack(t *testing.T) {
	d := startSSHD(t, sshEngine(t))
	p := New("f1", discard)
	defer p.Close()
	if err := p.Add(d.node(), WithSSH(fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Containers().List(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	n, _ := p.node("n")
	client := n.tunnel.client
	p.Remove("n")
	client.Wait() // it ends
	if _, err := n.tunnel.connect(t.Context()); err != errTunnelClosed {
		t.Errorf("got %v", err)
	}
}

func TestAnSSHDThatIsFrozenIsLetGoSoThatNothingPilesUp(t *testing.T) {
	d := startSSHD(t, sshEngine(t))
	login, err := newSSHLogin(fleet.NodeSSH{Key: d.key, HostKey: d.fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	tunnel := &tunnel{user: "me", address: d.address, socket: "/run/silent.sock", login: login, patience: 50 * time.Millisecond, dialTCP: dialer.DialContext}
	defer tunnel.close()
	if _, err := tunnel.dial(t.Context(), "", ""); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if tunnel.client != nil {
		t.Error("its connection is kept")
	}
	tunnel.socket = "/run/engine.sock"
	channel, err := tunnel.dial(t.Context(), "", "")
	if err != nil {
		t.Fatalf("when it answers again: %v", err)
	}
	channel.Close()
}
