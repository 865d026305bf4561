package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH says what a tunnel trusts and shows. Empty fields mean what ssh itself would use.
type SSH struct {
	AgentSocket string   // empty = SSH_AUTH_SOCK
	Identities  []string // key files without a passphrase; nil = ~/.ssh/id_ed25519, id_ecdsa, id_rsa
	KnownHosts  []string // nil = ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

// HostKeyError is a server whose key is not, or not that one, in known_hosts.
type HostKeyError struct {
	Host    string
	Changed bool // another key is known for it
}

func (e *HostKeyError) Error() string {
	if e.Changed {
		return fmt.Sprintf("the key of %s is not the one in known_hosts: somebody may be in between, or the server was made anew", e.Host)
	}
	return fmt.Sprintf("the key of %s is not in known_hosts: connect once with ssh and check it", e.Host)
}

// errLogin marks what no second try mends.
var errLogin = errors.New("ssh refused the login")

const handshakeTimeout = 15 * time.Second

type sshTarget struct {
	user    string // empty = the present user
	address string // host:port of the far sshd
	network string // tcp or unix
	far     string // the API as the far side reaches it
}

// tunnel is one connection to an sshd that carries all calls; it is made at
// the first call, and anew when it broke.
type tunnel struct {
	target sshTarget
	config SSH

	mu     sync.Mutex // guards client, and is held while it is made
	client *ssh.Client
}

func newTunnel(target sshTarget, config SSH) *tunnel { return &tunnel{target: target, config: config} }

// dial opens a channel to the API; network and address of the request do not count.
func (t *tunnel) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, fresh, err := t.connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := client.DialContext(ctx, t.target.network, t.target.far)
	var refused *ssh.OpenChannelError
	if err == nil || fresh || ctx.Err() != nil || errors.As(err, &refused) {
		return conn, t.explain(err)
	}
	t.drop(client) // it broke while nobody used it
	if client, _, err = t.connect(ctx); err != nil {
		return nil, err
	}
	conn, err = client.DialContext(ctx, t.target.network, t.target.far)
	return conn, t.explain(err)
}

func (t *tunnel) explain(err error) error {
	if err == nil {
		return nil
	}
	failed := fmt.Errorf("cannot reach %s on the far side of ssh://%s: %w", t.target.far, t.target.address, err)
	return &net.OpError{Op: "dial", Net: t.target.network, Err: failed}
}

func (t *tunnel) connect(ctx context.Context) (client *ssh.Client, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client != nil {
		return t.client, false, nil
	}
	t.client, err = t.open(ctx)
	return t.client, true, err
}

func (t *tunnel) drop(client *ssh.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == client {
		t.client = nil
	}
	client.Close()
}

func (t *tunnel) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == nil {
		return nil
	}
	err := t.client.Close()
	t.client = nil
	return err
}

func (t *tunnel) open(ctx context.Context) (*ssh.Client, error) {
	check, algorithms, err := t.hostKeys()
	if err != nil {
		return nil, err
	}
	auth, done := t.credentials(ctx)
	defer done()
	name := t.target.user
	if name == "" {
		if present, err := user.Current(); err == nil {
			name = present.Username
		}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", t.target.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	transport, channels, requests, err := ssh.NewClientConn(conn, t.target.address, &ssh.ClientConfig{
		User: name, Auth: auth, HostKeyCallback: check, HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		conn.Close()
		return nil, loginError(t.target.address, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return ssh.NewClient(transport, channels, requests), nil
}

func loginError(address string, err error) error {
	var key *HostKeyError
	if errors.As(err, &key) {
		return key
	}
	return fmt.Errorf("cannot log in to ssh://%s: %w (%w)", address, err, errLogin)
}

// hostKeys returns the check of the server's key and the kinds of key that are
// known for it: a server that has several must show one of these.
func (t *tunnel) hostKeys() (ssh.HostKeyCallback, []string, error) {
	files := t.config.KnownHosts
	if files == nil {
		files = existing(filepath.Join(sshFolder(), "known_hosts"), "/etc/ssh/ssh_known_hosts")
	}
	if len(files) == 0 {
		return nil, nil, &HostKeyError{Host: t.target.address}
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read known_hosts: %w", err)
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		var wrong *knownhosts.KeyError
		if errors.As(err, &wrong) {
			return &HostKeyError{Host: host, Changed: len(wrong.Want) > 0}
		}
		return err
	}
	return check, knownAlgorithms(known, t.target.address), nil
}

// knownAlgorithms asks known_hosts with a key that nobody has, to be told which it wants.
func knownAlgorithms(known ssh.HostKeyCallback, address string) []string {
	var wrong *knownhosts.KeyError
	if err := known(address, &net.TCPAddr{}, noKey{}); !errors.As(err, &wrong) {
		return nil
	}
	var algorithms []string
	for _, want := range wrong.Want {
		if kind := want.Key.Type(); kind == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			algorithms = append(algorithms, kind)
		}
	}
	return algorithms
}

type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// credentials returns the keys of the agent and of the files; done lets the agent go.
func (t *tunnel) credentials(ctx context.Context) (auth []ssh.AuthMethod, done func()) {
	done = func() {}
	socket := t.config.AgentSocket
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	var signers []ssh.Signer
	if socket != "" {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
			done = func() { conn.Close() }
			if held, err := agent.NewClient(conn).Signers(); err == nil {
				signers = append(signers, held...)
			}
		}
	}
	files := t.config.Identities
	if files == nil {
		folder := sshFolder()
		files = existing(filepath.Join(folder, "id_ed25519"), filepath.Join(folder, "id_ecdsa"), filepath.Join(folder, "id_rsa"))
	}
	for _, file := range files {
		if pem, err := os.ReadFile(file); err == nil {
			if signer, err := ssh.ParsePrivateKey(pem); err == nil {
				signers = append(signers, signer)
			}
		}
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signers...)}, done
}

func sshFolder() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".ssh")
}

func existing(paths ...string) []string {
	var found []string
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	return found
}
