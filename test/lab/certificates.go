package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// CAFile is the certificate of the authority that a lab's engines and their
// callers trust.
func (l *Lab) CAFile() string { return filepath.Join(l.Dir, "ca.pem") }

// CertFile and KeyFile are what a caller of the engines shows.
func (l *Lab) CertFile() string { return filepath.Join(l.Dir, "cert.pem") }

// KeyFile is the key of CertFile.
func (l *Lab) KeyFile() string { return filepath.Join(l.Dir, "key.pem") }

// makeCertificates makes the authority, a certificate for each engine that
// holds for its address, and one for callers.
func (l *Lab) makeCertificates() error {
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "lab " + l.Name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	key, err := issue(ca, nil, nil, l.CAFile(), "")
	if err != nil {
		return fmt.Errorf("cannot make the authority of lab %s: %w", l.Name, err)
	}
	caller := &x509.Certificate{Subject: pkix.Name{CommonName: "caller"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := issue(caller, ca, key, l.CertFile(), l.KeyFile()); err != nil {
		return fmt.Errorf("cannot make a certificate for callers of lab %s: %w", l.Name, err)
	}
	if err := giveToCaller(l.KeyFile()); err != nil {
		return fmt.Errorf("cannot give the key of lab %s to who called sudo: %w", l.Name, err)
	}
	for _, n := range l.Nodes {
		if err := os.MkdirAll(n.dir(), 0o711); err != nil {
			return fmt.Errorf("cannot make the folder of %s: %w", n.Name, err)
		}
		engine := &x509.Certificate{
			Subject: pkix.Name{CommonName: n.Name}, DNSNames: []string{n.Name}, IPAddresses: []net.IP{net.ParseIP(n.Address())},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if _, err := issue(engine, ca, key, filepath.Join(n.dir(), "cert.pem"), filepath.Join(n.dir(), "key.pem")); err != nil {
			return fmt.Errorf("cannot make the certificate of %s: %w", n.Name, err)
		}
	}
	return nil
}

// issue makes a key, has its certificate signed (by itself where parent is
// nil), and writes both; an empty keyFile keeps the key in memory.
func issue(template, parent *x509.Certificate, by *ecdsa.PrivateKey, certFile, keyFile string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if parent == nil {
		parent, by = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
		return nil, err
	}
	if keyFile == "" {
		return key, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// giveToCaller makes a file that of the person who called this by sudo.
func giveToCaller(file string) error {
	user, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil || os.Geteuid() != 0 {
		return nil // it is root who called
	}
	return os.Chown(file, user, -1)
}
