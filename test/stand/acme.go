package stand

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ACME is a Pebble, the test server of Let's Encrypt, with a name server that
// says that every name is on this machine.
type ACME struct {
	t      T
	dir    string
	pebble *Process
	names  *Process

	directory string // URL that Traefik asks
	caFile    string // certificate of the server's own TLS
	apiPort   int
	dnsPort   int
}

func newACME(t T, dir string) *ACME {
	t.Helper()
	a := &ACME{t: t, dir: dir, apiPort: FreePort(t), dnsPort: FreePort(t)}
	a.directory = fmt.Sprintf("https://127.0.0.1:%d/dir", a.apiPort)
	a.caFile = filepath.Join(dir, "pebble-ca.pem")
	return a
}

// useACME adds the resolver "letsencrypt" to the edge's static file.
func (e *Edge) useACME(a *ACME, challenge string) {
	e.t.Helper()
	e.write("edge/acme-"+challenge+".yml", map[string]string{
		"ACME_EMAIL": "nobody@example.com", "ACME_CA_SERVER": a.directory,
		"ACME_STORAGE": filepath.Join(e.stand.Dir, e.Name+"-acme.json"),
	}, e.t)
	e.env = append(e.env, "LEGO_CA_CERTIFICATES="+a.caFile)
}

// start runs the servers; challenges are answered by that edge.
func (a *ACME) start(edge *Edge) {
	a.t.Helper()
	if a.pebble != nil {
		return
	}
	key := a.makeCertificate()
	config := map[string]any{"pebble": map[string]any{
		"listenAddress":           fmt.Sprintf("127.0.0.1:%d", a.apiPort),
		"managementListenAddress": fmt.Sprintf("127.0.0.1:%d", FreePort(a.t)),
		"certificate":             a.caFile, "privateKey": key,
		"httpPort": edge.webPort, "tlsPort": edge.webSecurePort,
		"ocspResponderURL": "", "externalAccountBindingRequired": false,
	}}
	text, err := json.Marshal(config)
	must(a.t, err, "write Pebble's configuration")
	file := filepath.Join(a.dir, "pebble.json")
	must(a.t, os.WriteFile(file, text, 0o600), "write Pebble's configuration")
	dns := fmt.Sprintf("127.0.0.1:%d", a.dnsPort)
	a.names = newProcess(a.t, a.dir, "challtestsrv", tool(a.t, "pebble-challtestsrv", "pebble-challtestsrv"), []string{
		"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns, "-management", fmt.Sprintf("127.0.0.1:%d", FreePort(a.t)),
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""}, nil)
	a.names.Start()
	a.pebble = newProcess(a.t, a.dir, "pebble", tool(a.t, "pebble", "pebble"), []string{"-config", file, "-dnsserver", dns}, []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"})
	a.pebble.Start()
	a.pebble.awaitListening(10*time.Second, loopback(a.apiPort))
}

func (a *ACME) stop() {
	if a.pebble != nil {
		a.pebble.Kill()
		a.names.Kill()
	}
}

// IssuedBy fails the test unless the certificate that the answer came with is
// one of this server for that host.
func (a *ACME) IssuedBy(answer Answer, host string) {
	a.t.Helper()
	must(a.t, a.check(answer, host), "find a certificate of the ACME server for %s", host)
}

func (a *ACME) check(answer Answer, host string) error {
	if answer.TLS == nil || len(answer.TLS.PeerCertificates) == 0 {
		return fmt.Errorf("the answer has no certificate: %w", answer.Err)
	}
	leaf := answer.TLS.PeerCertificates[0]
	if err := leaf.VerifyHostname(host); err != nil {
		return err
	}
	if !strings.HasPrefix(leaf.Issuer.CommonName, "Pebble Intermediate CA") {
		return fmt.Errorf("its issuer is %q", leaf.Issuer.CommonName)
	}
	return nil
}

// makeCertificate writes the certificate of the server's own TLS and returns its key's file.
func (a *ACME) makeCertificate() string {
	a.t.Helper()
	certificate, key := selfSigned(a.t, net.IPv4(127, 0, 0, 1))
	must(a.t, os.WriteFile(a.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600), "write a certificate")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err, "write a key")
	file := filepath.Join(a.dir, "pebble-key.pem")
	must(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600), "write a key")
	return file
}
