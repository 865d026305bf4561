// Package client calls the private API of a spawner: one method per verb, the
// nouns of fleet in and out, and a refusal comes back as the *fleet.Error that
// the spawner sent. It speaks to TCP, to TLS, to a unix socket and, with
// ssh://, through a tunnel; it never sends a credential in clear to another machine.
package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// DefaultURL is where a spawner on this machine listens.
const DefaultURL = "http://127.0.0.1:8008"

// Config says whom to call, and as whom. All fields may be empty.
type Config struct {
	// URL is http://host:port, https://host[:port], unix:///path/of.sock or
	// ssh://user@host[:port][/path/of.sock on the far side][?api=host:port];
	// empty = DefaultURL. A user and a password in an http URL are Username and Password.
	URL string
	// Token is sent as bearer; else Username and Password are as basic authentication.
	Token              string
	Username, Password string
	TLS                *tls.Config // for https; nil = the system's pool
	SSH                SSH
	UserAgent          string // empty = spawner-client
}

// Client calls one spawner. It may be used by many goroutines; Close it.
type Client struct {
	base      *url.URL
	shown     string // the URL as people know it, for messages
	clear     bool   // what is sent can be read on its way
	config    Config
	transport *http.Transport
	tunnel    *tunnel // nil unless ssh
	reads     *retryablehttp.Client
	writes    *retryablehttp.Client
}

// New checks the configuration; it connects to nothing yet. A credential that
// would travel in clear to another machine is refused.
func New(config Config) (*Client, error) {
	target, err := parseTarget(config.URL)
	if err != nil {
		return nil, err
	}
	config.Token = strings.TrimSpace(config.Token)
	if target.user != nil && config.Token == "" && config.Username == "" {
		config.Username = target.user.Username()
		config.Password, _ = target.user.Password()
	}
	if target.clear && (config.Token != "" || config.Username != "") {
		return nil, refuseClear(target.shown)
	}
	c := &Client{base: target.base, shown: target.shown, clear: target.clear, config: config}
	c.transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       config.TLS,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	switch {
	case target.ssh != nil:
		c.tunnel = newTunnel(*target.ssh, config.SSH)
		c.transport.Proxy, c.transport.DialContext = nil, c.tunnel.dial
	case target.socket != "":
		c.transport.Proxy = nil
		c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", target.socket)
		}
	default:
		c.transport.DialContext = dialer.DialContext
	}
	plain := &http.Client{Transport: c.transport, CheckRedirect: neverFollow}
	c.reads, c.writes = retrying(plain, retryRead), retrying(plain, retryWrite)
	return c, nil
}

// Close gives back the connections. Calls under way end with an error when they run through a tunnel.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	if c.tunnel != nil {
		return c.tunnel.close()
	}
	return nil
}

// neverFollow keeps a credential from going where a redirect points; the API has none.
func neverFollow(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
