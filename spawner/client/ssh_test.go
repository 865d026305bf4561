package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// farSide is a machine with an sshd that forwards, and an API on its loopback.
type farSide struct {
	address string // of the sshd
	api     string // host:port
	host    ssh.Signer

	mu    sync.Mutex
	conns []net.Conn
}

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, signer
}

// startFarSide lets in whoever holds that key.
func startFarSide(t *testing.T, allowed ssh.PublicKey) *farSide {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `[{"name":"`+r.Header.Get("Authorization")+`"}]`)
	}))
	t.Cleanup(api.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, host := newKey(t)
	f := &farSide{address: listener.Addr().String(), api: strings.TrimPrefix(api.URL, "http://"), host: host}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	t.Cleanup(func() { listener.Close(); f.hangUp() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			go serveSSH(conn, config)
		}
	}()
	return f
}

// hangUp breaks all connections.
func (f *farSide) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		conn.Close()
	}
	f.conns = nil
}

func (f *farSide) logins() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		go forward(wanted)
	}
}

// forward connects a channel of RFC 4254 §7.2, or OpenSSH's one for sockets, to its target.
func forward(wanted ssh.NewChannel) {
	var conn net.Conn
	var err error
	switch wanted.ChannelType() {
	case "direct-tcpip":
		var target struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}
		if err = ssh.Unmarshal(wanted.ExtraData(), &target); err == nil {
			conn, err = net.Dial("tcp", net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port))))
		}
	case "direct-streamlocal@openssh.com":
		var target struct {
			Path     string
			Reserved string
			Zero     uint32
		}
		if err = ssh.Unmarshal(wanted.ExtraData(), &target); err == nil {
			conn, err = net.Dial("unix", target.Path)
		}
	}
	if err != nil || conn == nil {
		_ = wanted.Reject(ssh.ConnectionFailed, "nothing there")
		return
	}
	channel, requests, err := wanted.Accept()
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	go func() { _, _ = io.Copy(channel, conn); channel.Close() }()
	_, _ = io.Copy(conn, channel)
	conn.Close()
}

// runAgent serves an agent that holds the key and returns its socket.
func runAgent(t *testing.T, key ed25519.PrivateKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn); conn.Close() }()
		}
	}()
	return path
}

func knownFile(t *testing.T, address string, key ssh.PublicKey) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, key) + "\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestATunnelCarriesCallsOverOneLogin(t *testing.T) {
	key, signer := newKey(t)
	far := startFarSide(t, signer.PublicKey())
	c := newClient(t, Config{
		URL: "ssh://me@" + far.address + "?api=" + far.api, Token: "secret",
		SSH: SSH{AgentSocket: runAgent(t, key), Identities: []string{}, KnownHosts: []string{knownFile(t, far.address, far.host.PublicKey())}},
	})
	for range 3 {
		c.transport.CloseIdleConnections() // so that each call opens a channel of its own
		nodes, err := c.Nodes(t.Context())
		if err != nil || len(nodes) != 1 || nodes[0].Name != "Bearer secret" {
			t.Fatalf("got %v, %v", nodes, err)
		}
	}
	if far.logins() != 1 {
		t.Errorf("%d logins", far.logins())
	}
	far.hangUp()
	if _, err := c.Nodes(t.Context()); err != nil || far.logins() != 1 {
		t.Errorf("after the connection broke: %v, %d logins", err, far.logins())
	}
}

func TestATunnelLeadsToASocketToo(t *testing.T) {
	key, signer := newKey(t)
	far := startFarSide(t, signer.PublicKey())
	path := filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })}
	go server.Serve(listener)
	defer server.Close()
	c := newClient(t, Config{URL: "ssh://me@" + far.address + path, Token: "secret",
		SSH: SSH{AgentSocket: runAgent(t, key), Identities: []string{}, KnownHosts: []string{knownFile(t, far.address, far.host.PublicKey())}}})
	if _, err := c.Nodes(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsNotKnownIsNotSpokenTo(t *testing.T) {
	key, signer := newKey(t)
	far := startFarSide(t, signer.PublicKey())
	_, other := newKey(t)
	for name, c := range map[string]struct {
		files   []string
		changed bool
	}{
		"no file":     {[]string{}, false},
		"not in it":   {[]string{knownFile(t, "192.0.2.1:22", far.host.PublicKey())}, false},
		"another key": {[]string{knownFile(t, far.address, other.PublicKey())}, true},
	} {
		client := newClient(t, Config{URL: "ssh://me@" + far.address + "?api=" + far.api, Token: "secret",
			SSH: SSH{AgentSocket: runAgent(t, key), Identities: []string{}, KnownHosts: c.files}})
		_, err := client.Nodes(t.Context())
		var wrong *HostKeyError
		if !errors.As(err, &wrong) || wrong.Changed != c.changed {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestALoginThatIsRefusedIsNotTriedAgain(t *testing.T) {
	_, signer := newKey(t)
	far := startFarSide(t, signer.PublicKey())
	key, _ := newKey(t)
	c := newClient(t, Config{URL: "ssh://me@" + far.address, Token: "secret",
		SSH: SSH{AgentSocket: runAgent(t, key), Identities: []string{}, KnownHosts: []string{knownFile(t, far.address, far.host.PublicKey())}}})
	_, err := c.Nodes(t.Context())
	if !errors.Is(err, errLogin) || far.logins() != 1 {
		t.Errorf("got %v after %d logins", err, far.logins())
	}
}

func TestAnAPIThatIsNotThereOnTheFarSideIsSaidSo(t *testing.T) {
	key, signer := newKey(t)
	far := startFarSide(t, signer.PublicKey())
	c := newClient(t, Config{URL: "ssh://me@" + far.address + "/nowhere.sock", Token: "secret",
		SSH: SSH{AgentSocket: runAgent(t, key), Identities: []string{}, KnownHosts: []string{knownFile(t, far.address, far.host.PublicKey())}}})
	if err := c.Healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere.sock on the far side") {
		t.Errorf("got %v", err)
	}
}
