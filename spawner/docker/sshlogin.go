package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"edgespawner/fleet"
)

// sshLogin is what the spawner shows an sshd, and which key of it is trusted.
type sshLogin struct {
	signer  ssh.Signer             // nil = the agent's and the user's own
	known   ssh.HostKeyCallback    // nil = the user's own known_hosts
	hostKey string                 // fingerprint of the only key that is taken; empty = known says
	getenv  func(string) string    // of the spawner
	home    func() (string, error) // of the spawner's user
}

func newSSHLogin(material fleet.NodeSSH) (*sshLogin, error) {
	login := &sshLogin{hostKey: material.HostKey, getenv: os.Getenv, home: os.UserHomeDir}
	if material.Key != "" {
		signer, err := ssh.ParsePrivateKey([]byte(material.Key.Reveal()))
		var sealed *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &sealed):
			return nil, fleet.InvalidField("ssh.key", "asks for a passphrase, which nobody can give at night: make a key without one for the spawner")
		case err != nil:
			return nil, fleet.InvalidField("ssh.key", "is no private key in PEM or OpenSSH form")
		}
		login.signer = signer
	}
	if material.KnownHosts != "" {
		known, err := parseKnownHosts(material.KnownHosts)
		if err != nil {
			return nil, fleet.InvalidField("ssh.known_hosts", "cannot be read: %v", err)
		}
		login.known = known
	}
	return login, nil
}

// parseKnownHosts reads text; the library takes files alone.
func parseKnownHosts(text string) (known ssh.HostKeyCallback, err error) {
	file, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return knownhosts.New(file.Name())
}

// hostKeyError is an sshd whose key is not one that is trusted.
type hostKeyError struct {
	address, kind, fingerprint string
	changed                    bool // another key is known for it
}

func (e *hostKeyError) Error() string {
	shown := fmt.Sprintf("the key of %s is %s (%s)", e.address, e.fingerprint, e.kind)
	if e.changed {
		return shown + ", which is not the one that is known for it: somebody may be in between, or the machine was made anew"
	}
	return shown + ", which is not known here. Compare it with what 'ssh-keygen -l -f /etc/ssh/ssh_host_*_key.pub' says on that machine, then accept it with --ssh-host-key " + e.fingerprint
}

// keyKinds are the kinds of key that a machine may have, those that people look at first.
var keyKinds = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// hostKeys returns the check of an sshd's key, and the kinds of key to ask it
// for, one after the other: those that are known for it, else all.
func (l *sshLogin) hostKeys(address string) (ssh.HostKeyCallback, [][]string, error) {
	if l.hostKey != "" {
		return l.pinned, keyKinds, nil
	}
	known := l.known
	if known == nil {
		var err error
		if known, err = l.ownKnownHosts(); err != nil {
			return nil, nil, err
		}
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		var wrong *knownhosts.KeyError
		if errors.As(err, &wrong) {
			return newHostKeyError(host, key, len(wrong.Want) > 0)
		}
		return err
	}
	if algorithms := knownAlgorithms(known, address); algorithms != nil {
		return check, [][]string{algorithms}, nil
	}
	return check, [][]string{slices.Concat(keyKinds...)}, nil // it is refused: by the key that people look at first
}

func (l *sshLogin) pinned(host string, _ net.Addr, key ssh.PublicKey) error {
	if ssh.FingerprintSHA256(key) != l.hostKey {
		return newHostKeyError(host, key, true)
	}
	return nil
}

func newHostKeyError(host string, key ssh.PublicKey, changed bool) *hostKeyError {
	return &hostKeyError{address: host, kind: key.Type(), fingerprint: ssh.FingerprintSHA256(key), changed: changed}
}

// ownKnownHosts reads the files of the spawner's user, as they are now; without
// any no key is known.
func (l *sshLogin) ownKnownHosts() (ssh.HostKeyCallback, error) {
	files := existing(l.file("known_hosts"), "/etc/ssh/ssh_known_hosts")
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, fmt.Errorf("cannot read known_hosts: %w", err)
	}
	return known, nil
}

// knownAlgorithms asks with a key that nobody has, to be told which are known.
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

// noKey is a key that no machine has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// methods are the keys that are shown; done lets the agent go.
func (l *sshLogin) methods(ctx context.Context) (auth []ssh.AuthMethod, done func()) {
	if l.signer != nil {
		return []ssh.AuthMethod{ssh.PublicKeys(l.signer)}, func() {}
	}
	done = func() {}
	var signers []ssh.Signer
	if socket := l.getenv("SSH_AUTH_SOCK"); socket != "" {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
			done = func() { conn.Close() }
			if held, err := agent.NewClient(conn).Signers(); err == nil {
				signers = append(signers, held...)
			}
		}
	}
	for _, file := range existing(l.file("id_ed25519"), l.file("id_ecdsa"), l.file("id_rsa")) {
		if pem, err := os.ReadFile(file); err == nil {
			if signer, err := ssh.ParsePrivateKey(pem); err == nil {
				signers = append(signers, signer)
			}
		}
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signers...)}, done
}

// file is one of the spawner's user; empty when there is no home.
func (l *sshLogin) file(name string) string {
	home, err := l.home()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".ssh", name)
}

func existing(paths ...string) []string {
	var found []string
	for _, path := range paths {
		if _, err := os.Stat(path); path != "" && !errors.Is(err, fs.ErrNotExist) {
			found = append(found, path)
		}
	}
	return found
}

// loginError is an sshd that does not let the spawner in.
type loginError struct {
	user, address string
	cause         error
}

func (e *loginError) Error() string {
	return fmt.Sprintf("the sshd of %s does not let the user %s in with the keys that were shown: put the public key into its authorized_keys", e.address, e.user)
}

func (e *loginError) Unwrap() error { return e.cause }

// explainLogin tells a key that is not trusted and a login that was refused from the rest.
func explainLogin(user, address string, err error) error {
	var key *hostKeyError
	switch {
	case errors.As(err, &key):
		return key
	case strings.Contains(err.Error(), "unable to authenticate"):
		return &loginError{user: user, address: address, cause: err}
	default:
		return fmt.Errorf("cannot speak ssh with %s: %w", address, err)
	}
}
