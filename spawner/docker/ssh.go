package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"edgespawner/fleet"
)

const (
	sshPort        = "22"
	defaultSocket  = "/var/run/docker.sock"
	sshDialTimeout = 15 * time.Second // from the first packet to the login
	channelTimeout = 15 * time.Second // for an sshd to open a channel
	// loginPause is how long a refused login is not tried again: machines lock
	// out whoever knocks too often.
	loginPause = 30 * time.Second
)

// errTunnelClosed is a node that was removed.
var errTunnelClosed = errors.New("the node was removed")

// tunnel is the one connection to a node's sshd, on which each call opens a
// channel to the engine's socket. It is made at the first call, and anew, with
// growing pauses, when it broke.
type tunnel struct {
	user, address string // address is host:port of the sshd
	socket        string // of the engine, on the far side
	login         *sshLogin
	patience      time.Duration // for a channel to be opened
	dialTCP       func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	client  *ssh.Client // nil while there is none
	attempt *sshAttempt // under way; nil = none
	pause   time.Duration
	until   time.Time // no attempt before
	failed  error     // why the last one failed
	closed  bool
}

// sshAttempt is one connection that is being made; its fields stand once done is closed.
type sshAttempt struct {
	done   chan struct{}
	client *ssh.Client
	err    error
}

// newTunnel reads an endpoint ssh://user@host[:port][/path/of.sock].
func newTunnel(endpoint *url.URL, material fleet.NodeSSH) (*tunnel, error) {
	login, err := newSSHLogin(material)
	if err != nil {
		return nil, err
	}
	name := endpoint.User.Username()
	if name == "" {
		if present, err := user.Current(); err == nil {
			name = present.Username
		}
	}
	socket := endpoint.Path
	if socket == "" || socket == "/" {
		socket = defaultSocket
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: keepAlive}
	return &tunnel{
		user: name, address: net.JoinHostPort(endpoint.Hostname(), cmp.Or(endpoint.Port(), sshPort)),
		socket: socket, login: login, patience: channelTimeout, dialTCP: dialer.DialContext,
	}, nil
}

// dial opens a channel to the engine's socket; network and address do not count.
func (t *tunnel) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	for range 2 { // a connection may have broken a moment ago
		client, err := t.connect(ctx)
		if err != nil {
			return nil, err
		}
		bounded, cancel := context.WithTimeout(ctx, t.patience)
		channel, err := client.DialContext(bounded, "unix", t.socket)
		late := bounded.Err() != nil
		cancel()
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			return channel, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case late: // it is frozen, and each call would leave something behind that waits
			t.drop(client)
			return nil, fmt.Errorf("the sshd of %s does not answer: %w", t.address, os.ErrDeadlineExceeded)
		case errors.As(err, &refused):
			return nil, &socketError{socket: t.socket, address: t.address, reason: refused}
		}
		t.drop(client)
	}
	return nil, fmt.Errorf("the ssh connection to %s broke twice", t.address)
}

// socketError is an sshd that does not lead to the engine's socket.
type socketError struct {
	socket, address string
	reason          *ssh.OpenChannelError
}

func (e *socketError) Error() string {
	if e.reason.Reason == ssh.Prohibited {
		return fmt.Sprintf("the sshd of %s does not allow channels to sockets (AllowStreamLocalForwarding)", e.address)
	}
	return fmt.Sprintf("no engine answers at %s on %s, or the user may not open it (usermod -aG docker): %s", e.socket, e.address, e.reason.Message)
}

// connect returns the connection, making it if there is none. Who leaves is let
// go; the attempt goes on for the others.
func (t *tunnel) connect(ctx context.Context) (*ssh.Client, error) {
	t.mu.Lock()
	switch {
	case t.closed:
		t.mu.Unlock()
		return nil, errTunnelClosed
	case t.client != nil:
		defer t.mu.Unlock()
		return t.client, nil
	case t.attempt == nil && time.Now().Before(t.until):
		defer t.mu.Unlock()
		return nil, t.failed
	case t.attempt == nil:
		t.attempt = &sshAttempt{done: make(chan struct{})}
		go t.make(t.attempt)
	}
	attempt := t.attempt
	t.mu.Unlock()
	select {
	case <-attempt.done:
		return attempt.client, attempt.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// make carries out an attempt, and watches over the connection from then on.
func (t *tunnel) make(attempt *sshAttempt) {
	ctx, cancel := context.WithTimeout(context.Background(), sshDialTimeout)
	defer cancel()
	client, err := t.open(ctx)
	t.mu.Lock()
	if err == nil && t.closed {
		client.Close()
		client, err = nil, errTunnelClosed
	}
	t.attempt, t.client, t.failed = nil, client, err
	t.settlePause(err)
	t.mu.Unlock()
	attempt.client, attempt.err = client, err
	close(attempt.done)
	if err == nil {
		_ = client.Wait() // why it ended shows at the next attempt
		t.drop(client)
	}
}

// settlePause says when the next attempt may be made; the lock is held.
func (t *tunnel) settlePause(err error) {
	var login *loginError
	switch {
	case err == nil:
		t.pause, t.until = 0, time.Time{}
		return
	case errors.As(err, &login):
		t.pause = loginPause
	default:
		t.pause = min(max(2*t.pause, backoffFirst), backoffLongest)
	}
	t.until = time.Now().Add(t.pause)
}

// drop lets a broken connection go.
func (t *tunnel) drop(client *ssh.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == client {
		t.client = nil
	}
	client.Close()
}

// close ends the connection and every call on it.
func (t *tunnel) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.client == nil {
		return nil
	}
	err := t.client.Close()
	t.client = nil
	return err
}

// open connects and logs in. A machine has several keys and shows one: where a
// single key is trusted, it is asked for each kind until it shows that one.
func (t *tunnel) open(ctx context.Context) (*ssh.Client, error) {
	check, kinds, err := t.login.hostKeys(t.address)
	if err != nil {
		return nil, err
	}
	var first error
	for _, algorithms := range kinds {
		client, err := t.openWith(ctx, check, algorithms)
		var key *hostKeyError
		var other *ssh.AlgorithmNegotiationError
		if err == nil || !errors.As(err, &key) && !errors.As(err, &other) {
			return client, err
		}
		if first == nil || key != nil && !errors.As(first, new(*hostKeyError)) {
			first = err
		}
	}
	return nil, first
}

func (t *tunnel) openWith(ctx context.Context, check ssh.HostKeyCallback, algorithms []string) (*ssh.Client, error) {
	auth, done := t.login.methods(ctx)
	defer done()
	conn, err := t.dialTCP(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	transport, channels, requests, err := ssh.NewClientConn(conn, t.address, &ssh.ClientConfig{
		User: t.user, Auth: auth, HostKeyCallback: check, HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, explainLogin(t.user, t.address, err)
	}
	return ssh.NewClient(transport, channels, requests), nil
}
