package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"edgespawner/fleet"
)

// DefaultEndpoint is where an engine listens on its own machine.
const DefaultEndpoint = "unix:///var/run/docker.sock"

// idleConnections is how many warm connections are kept to an engine: with the
// SDK's 2, 30 calls at once are 29 dials (and as many TLS handshakes).
const idleConnections = 64

// keepAlive finds a cut network within 6 s; the system's default takes hours.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: 2 * time.Second, Count: 3}

// dialOptions is how a node's engine is reached, beside its endpoint.
type dialOptions struct {
	tls *TLS
}

// DialOption changes how a node's engine is reached.
type DialOption func(*dialOptions)

// TLS names the PEM files for an engine that asks for a certificate.
type TLS struct {
	CA         string // empty = the system's
	Cert, Key  string // empty = the client shows none
	SkipVerify bool   // the engine's certificate is not checked
}

// WithTLS makes a tcp:// endpoint be spoken to by TLS.
func WithTLS(files TLS) DialOption { return func(o *dialOptions) { o.tls = &files } }

// TLSFromEnvironment returns what DOCKER_TLS_VERIFY and DOCKER_CERT_PATH ask
// for, as the docker command reads them; false when they ask for nothing.
func TLSFromEnvironment(getenv func(string) string) (TLS, bool) {
	dir := getenv("DOCKER_CERT_PATH")
	if dir == "" {
		return TLS{}, false
	}
	return TLS{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		SkipVerify: getenv("DOCKER_TLS_VERIFY") == "",
	}, true
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.SkipVerify}
	if t.CA != "" {
		content, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA's certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot read the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// dial makes the client of a node; nothing is sent.
func dial(n fleet.Node, options ...DialOption) (*node, error) {
	var o dialOptions
	for _, option := range options {
		option(&o)
	}
	endpoint := n.Endpoint
	if endpoint == "" {
		endpoint = DefaultEndpoint
	}
	network, address, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: 5 * time.Minute,
	}
	base := "http://docker"
	if network == "tcp" {
		base = "http://" + address
	}
	if o.tls != nil && network == "tcp" {
		if transport.TLSClientConfig, err = o.tls.config(); err != nil {
			return nil, fleet.InvalidField("endpoint", "the engine %s cannot be reached by TLS: %v", endpoint, err)
		}
		base = "https://" + address
	}
	made, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(endpoint),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fleet.InvalidField("endpoint", "the endpoint %q cannot be used: %v", endpoint, err)
	}
	transport.DialContext = dialer(endpoint, network, address) // WithHost has set its own
	return &node{name: n.Name, endpoint: endpoint, base: base, client: made}, nil
}

// parseEndpoint splits unix:///path and tcp://host:port.
func parseEndpoint(endpoint string) (network, address string, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", "", fleet.InvalidField("endpoint", "the endpoint %q is no URL such as unix:///var/run/docker.sock or tcp://host:2376", endpoint)
	case u.Scheme == "unix" && u.Path != "":
		return "unix", u.Host + u.Path, nil
	case u.Scheme == "tcp" && u.Port() != "" && u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		return "tcp", net.JoinHostPort(u.Hostname(), u.Port()), nil
	default:
		return "", "", fleet.InvalidField("endpoint", "the endpoint %q must be like unix:///var/run/docker.sock or tcp://host:2376", endpoint)
	}
}

// dialer connects to the endpoint, and says in one line why it cannot.
func dialer(endpoint, network, address string) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: keepAlive}
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		at := address
		if network == "tcp" {
			at = target // a proxy's, if the environment names one
		}
		connection, err := d.DialContext(ctx, network, at)
		if err != nil && ctx.Err() == nil {
			return nil, &dialError{line: explainDial(endpoint, err), cause: err}
		}
		return connection, err
	}
}

// dialError is a connection that could not be made.
type dialError struct {
	line  string
	cause error
}

func (e *dialError) Error() string { return e.line }
func (e *dialError) Unwrap() error { return e.cause }

// explainDial says what is wrong and what to do.
func explainDial(endpoint string, err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("no permission for the Docker socket %s: run as root, or add the user to the group that owns it (usermod -aG docker)", endpoint)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Sprintf("no Docker socket at %s: start the engine, or set DOCKER_HOST to where it listens", endpoint)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: start the engine, or set DOCKER_HOST to where it listens", endpoint)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("the Docker engine at %s does not answer", endpoint)
	default:
		return fmt.Sprintf("the Docker engine at %s cannot be reached: %v", endpoint, err)
	}
}
