package feed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"edgespawner/fleet"
)

const (
	// DefaultCertificateName is the common name of NewDefaultCertificate's.
	DefaultCertificateName = "spawner default certificate"
	traefikDefaultName     = "TRAEFIK DEFAULT CERT"

	dialTimeout = 2 * time.Second
	lookStep    = 50 * time.Millisecond // between two looks at certificates, growing
	lookSlowest = time.Second
)

// NewDefaultCertificate makes the certificate for names that have none: P-256,
// self-signed, valid for ten years. It is to be kept: a new one reloads every edge.
func NewDefaultCertificate() (certPEM, keyPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("cannot make the default certificate's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return "", "", fmt.Errorf("cannot make the default certificate's number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: DefaultCertificateName},
		DNSNames:     []string{"spawner.invalid"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", "", fmt.Errorf("cannot sign the default certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("cannot encode the default certificate's key: %w", err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return certPEM, keyPEM, nil
}

// Certified waits until the edge that obtains certificates serves one for each
// host that is not the default one; without a resolver it looks once. The error is of kind Unavailable when no
// https URL of that edge is known, or wraps ctx's and names the hosts that are missing.
func (f *Feed) Certified(ctx context.Context, hosts []string) error {
	missing := hosts
	for pause := lookStep; ; pause = min(pause*3/2, lookSlowest) {
		address, err := f.secureAddress()
		if err != nil {
			return err
		}
		var left []string
		var reason error
		for _, host := range missing {
			if err := f.examine(ctx, address, host); err != nil {
				left, reason = append(left, host), err
			}
		}
		if missing = left; len(missing) == 0 {
			return nil
		}
		if f.config.Settings.CertResolver == "" { // nobody is asked for one, so none will come
			return fmt.Errorf("cannot see a certificate for %s: %w", strings.Join(missing, ", "), reason)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &errUncertified{hosts: missing, reason: reason, ended: ctx.Err()}
		}
	}
}

// errUncertified is a wait for certificates that ended too early.
type errUncertified struct {
	hosts         []string
	reason, ended error // what was seen last; why the wait ended
}

func (e *errUncertified) Error() string {
	return fmt.Sprintf("cannot see a certificate for %s: %s", strings.Join(e.hosts, ", "), e.reason)
}

func (e *errUncertified) Unwrap() []error { return []error{e.reason, e.ended} }

// errUnseen is a look at a certificate that came to nothing.
var errUnseen = errors.New("no TLS connection")

// secureAddress returns host and port of the websecure entry point of the edge that obtains certificates.
func (f *Feed) secureAddress() (string, error) {
	f.mu.Lock()
	defer f.unlock()
	name := f.acmeEdgeLocked()
	e, ok := f.edges[name]
	if !ok {
		return "", fleet.Errorf(fleet.Unavailable, "no edge that obtains certificates is connected")
	}
	parsed, err := url.Parse(e.address.WebSecure)
	if err != nil || parsed.Host == "" {
		return "", fleet.Errorf(fleet.Unavailable, "no https URL of edge %s is known, so that nobody can see its certificates", name)
	}
	if parsed.Port() == "" {
		return net.JoinHostPort(parsed.Hostname(), "443"), nil
	}
	return parsed.Host, nil
}

// examine returns nil if the edge serves a certificate for host that is not the default one.
func (f *Feed) examine(ctx context.Context, address, host string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// Who signed it is not looked at: a staging CA's is what was asked for.
	dialer := tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot look at the certificate of %s: %w: %w", host, errUnseen, err)
	}
	defer func() { _ = connection.Close() }()
	state := connection.(*tls.Conn).ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("%s shows no certificate", host)
	}
	leaf := state.PeerCertificates[0]
	switch {
	case leaf.Subject.CommonName == DefaultCertificateName, leaf.Subject.CommonName == traefikDefaultName, f.isDefault(leaf):
		return fmt.Errorf("%s shows the default certificate", host)
	case leaf.VerifyHostname(host) != nil:
		return fmt.Errorf("%s shows a certificate for other names", host)
	}
	return nil
}

func (f *Feed) isDefault(leaf *x509.Certificate) bool {
	block, _ := pem.Decode([]byte(f.config.Settings.CertificatePEM))
	return block != nil && bytes.Equal(block.Bytes, leaf.Raw)
}
