package daemon

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
	"net/url"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

// tlsEngine is an engine that asks for a certificate, and what it wants to see.
func tlsEngine(t *testing.T, id string) (endpoint string, material fleet.NodeTLS) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id}, NotAfter: time.Now().Add(time.Hour),
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
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(cert)
	plain := &url.URL{Scheme: "http", Host: strings.TrimPrefix(engineOf(t, id, "1.41"), "tcp://")}
	server := httptest.NewUnstartedServer(forward(plain))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String(), fleet.NodeTLS{CA: string(cert), Cert: string(cert), Key: fleet.Secret(key)}
}

func TestACertificateThatDoesNotMatchIsRefusedByItsField(t *testing.T) {
	i := openNodes(t, t.TempDir(), engineOf(t, "E1", "1.41"))
	endpoint, good := tlsEngine(t, "E2")
	_, other := tlsEngine(t, "E3")
	_, port, _ := strings.Cut(strings.TrimPrefix(endpoint, "tcp://"), ":")
	for name, c := range map[string]struct {
		endpoint     string
		tls          *fleet.NodeTLS
		field, words string
	}{
		"another CA":                   {endpoint, &fleet.NodeTLS{CA: other.CA, Cert: good.Cert, Key: good.Key}, "tls.ca", "signed by another CA"},
		"another client":               {endpoint, &fleet.NodeTLS{CA: good.CA, Cert: other.Cert, Key: other.Key}, "tls.cert", "another CA has signed it"},
		"no client":                    {endpoint, &fleet.NodeTLS{CA: good.CA}, "tls.cert", "none was given"},
		"a key of another":             {endpoint, &fleet.NodeTLS{CA: good.CA, Cert: good.Cert, Key: other.Key}, "tls.cert", "cannot be used with its key"},
		"another name":                 {"tcp://localhost:" + port, &good, "endpoint", "for another name"},
		"plain to an engine with TLS":  {endpoint, nil, "tls", "speaks TLS"},
		"TLS to an engine without any": {engineOf(t, "E4", "1.41"), &good, "tls", "does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.nodes.AddNode(t.Context(), fleet.NodeSpec{Name: "n2", Endpoint: c.endpoint, TLS: c.tls}, "me")
			refused(t, err, fleet.Invalid, c.field, c.words)
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
	if len(i.list(t)) != 1 {
		t.Errorf("got %v", i.list(t))
	}
}

// forward hands requests on.
func forward(to *url.URL) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		onward := r.Clone(r.Context())
		onward.RequestURI, onward.URL.Scheme, onward.URL.Host = "", to.Scheme, to.Host
		answer, err := http.DefaultTransport.RoundTrip(onward)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.Header().Set("Api-Version", answer.Header.Get("Api-Version"))
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body)
	})
}
