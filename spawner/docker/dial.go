package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
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
	tls func() (*tls.Config, error) // nil = plain
	ssh fleet.NodeSSH
}

// DialOption changes how a node's engine is reached.
type DialOption func(*dialOptions)

// WithTLS makes a tcp:// endpoint be spoken to by TLS, with PEM files.
func WithTLS(files TLS) DialOption { return func(o *dialOptions) { o.tls = files.config } }

// WithCertificates makes a tcp:// endpoint be spoken to by TLS, with PEM text.
func WithCertificates(pem fleet.NodeTLS) DialOption {
	return func(o *dialOptions) { o.tls = func() (*tls.Config, error) { return certificates(pem) } }
}

// WithSSH says how the spawner logs in at an ssh:// endpoint.
func WithSSH(material fleet.NodeSSH) DialOption {
	return func(o *dialOptions) { o.ssh = material }
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
		TLSHandshakeTimeout: settleTimeout,
	}
	made := &node{name: n.Name, endpoint: endpoint, base: "http://docker"}
	host := endpoint
	dialContext := dialer(endpoint, network, address)
	switch {
	case network == "ssh":
		if dialContext, err = made.tunnelled(o.ssh); err != nil {
			return nil, err
		}
		host = made.base // of the far side, as the SDK is to see it
	case network == "tcp" && o.tls != nil:
		if transport.TLSClientConfig, err = o.tls(); err != nil {
			return nil, err
		}
		made.base = "https://" + address
	case network == "tcp":
		made.base = "http://" + address
	}
	made.client, err = client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(host),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, fleet.InvalidField("endpoint", "the endpoint %q cannot be used: %v", endpoint, err)
	}
	transport.DialContext = dialContext // WithHost has set its own
	return made, nil
}

// tunnelled gives a node its ssh connection, and returns what opens channels on it.
func (n *node) tunnelled(material fleet.NodeSSH) (func(context.Context, string, string) (net.Conn, error), error) {
	u, err := url.Parse(n.endpoint)
	if err != nil {
		return nil, err // parseEndpoint has read it
	}
	if n.tunnel, err = newTunnel(u, material); err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := n.tunnel.dial(ctx, network, address)
		if err != nil && ctx.Err() == nil {
			return nil, &dialError{line: explainSSH(n.endpoint, err), cause: err}
		}
		return connection, err
	}, nil
}

// parseEndpoint splits unix:///path and tcp://host:port; of ssh:// the tunnel reads the rest.
func parseEndpoint(endpoint string) (network, address string, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", "", fleet.InvalidField("endpoint", "the endpoint %q is no URL such as unix:///var/run/docker.sock or tcp://host:2376", endpoint)
	case u.Scheme == "unix" && u.Path != "":
		return "unix", u.Host + u.Path, nil
	case u.Scheme == "tcp" && u.Port() != "" && u.Hostname() != "" && (u.Path == "" || u.Path == "/"):
		return "tcp", net.JoinHostPort(u.Hostname(), u.Port()), nil
	case u.Scheme == "ssh" && u.Hostname() != "":
		return "ssh", u.Host, nil
	default:
		return "", "", fleet.InvalidField("endpoint", "the endpoint %q must be like unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host", endpoint)
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

// explainSSH says what is wrong with the way through an sshd.
func explainSSH(endpoint string, err error) string {
	var key *hostKeyError
	var login *loginError
	var socket *socketError
	if errors.As(err, &key) || errors.As(err, &login) || errors.As(err, &socket) {
		return err.Error()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Sprintf("no sshd listens at %s", endpoint)
	}
	return explainDial(endpoint, err)
}

// explainDial says what is wrong with the way to an engine.
func explainDial(endpoint string, err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("no permission for the Docker socket %s: run as root, or add the user to the group that owns it (usermod -aG docker)", endpoint)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Sprintf("there is no Docker socket at %s", endpoint)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s", endpoint)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("the engine at %s does not answer", endpoint)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without what was dialled, which the endpoint says
	}
	return fmt.Sprintf("no connection to %s: %v", endpoint, err)
}
