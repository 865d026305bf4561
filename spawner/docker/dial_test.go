package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgespawner/fleet"
)

// writeCertificate makes a certificate that is its own CA, as dir/name.pem and -key.pem.
func writeCertificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestAnEngineBehindMutualTLSIsReached(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCertificate(t, dir, "server")
	clientCert, clientKey := writeCertificate(t, dir, "client")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(content)

	f := newFakeEngine(t)
	f.on("GET /info", 200, map[string]any{"ID": "E1", "NCPU": 2, "MemTotal": 1 << 30, "ServerVersion": "20.10"})
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake is meant to fail
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()

	p := New("f1", discard)
	defer p.Close()
	node := fleet.Node{Name: "n", Endpoint: "tcp://" + server.Listener.Addr().String()}
	if err := p.Add(node, WithTLS(TLS{CA: serverCert, Cert: clientCert, Key: clientKey})); err != nil {
		t.Fatal(err)
	}
	told, err := p.Info(t.Context(), "n")
	if err != nil || told.EngineID != "E1" || told.MemoryMB != 1024 || told.CPUs != 2 || told.State != fleet.NodeReady {
		t.Errorf("got %+v, %v", told, err)
	}
	if err := p.Add(node, WithTLS(TLS{CA: serverCert})); err != nil {
		t.Fatal(err)
	}
	if told, err := p.Info(t.Context(), "n"); err == nil || told.State != fleet.NodeSilent {
		t.Errorf("without a certificate: %+v, %v", told, err)
	}
	wantError(t, p.Add(node, WithTLS(TLS{CA: filepath.Join(dir, "none.pem")})), fleet.Invalid, "endpoint", "cannot be reached by TLS")
}

func TestTheEnvironmentMayAskForTLS(t *testing.T) {
	env := map[string]string{"DOCKER_CERT_PATH": "/certs", "DOCKER_TLS_VERIFY": "1"}
	files, ok := TLSFromEnvironment(func(name string) string { return env[name] })
	if want := (TLS{CA: "/certs/ca.pem", Cert: "/certs/cert.pem", Key: "/certs/key.pem"}); !ok || files != want {
		t.Errorf("got %+v, %v", files, ok)
	}
	if _, ok := TLSFromEnvironment(func(string) string { return "" }); ok {
		t.Error("an empty environment asks for TLS")
	}
}

func TestManyCallsAtOnceKeepTheirConnections(t *testing.T) {
	const callers, rounds = 30, 4
	var dials atomic.Int32
	f := newFakeEngine(t)
	var waiting sync.WaitGroup
	f.handle("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) {
		waiting.Done()
		waiting.Wait() // all at once, so that each has a connection of its own
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("[]"))
	})
	server := httptest.NewUnstartedServer(f)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dials.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	p := New("f1", discard)
	defer p.Close()
	if err := p.Add(fleet.Node{Name: "n", Endpoint: "tcp://" + server.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		waiting.Add(callers)
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				if _, err := p.Containers().List(t.Context(), "n"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	// A connection may come back a moment too late for the next round; with the
	// SDK's own 2 idle ones nearly every call dials.
	if got := dials.Load(); got > 2*callers {
		t.Errorf("%d calls at once, %d times, dialled %d times", callers, rounds, got)
	}
}
