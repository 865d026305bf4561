package fallback

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// transports connect to apps as the edge does (EDGE §3). Each request gets a
// connection of its own: so an attempt to connect that failed proves that
// nothing was sent, none dies of an idle connection that the app closes
// meanwhile, and no idle connection of ours looks like a client of the app.
type transports struct {
	plain *http.Transport
}

func newTransports() transports {
	plain := newTransport()
	// Unlike DisableKeepAlives this keeps no connection and yet does not tell
	// the app so: it would see a header that the edge does not send.
	plain.MaxIdleConnsPerHost = -1
	return transports{plain: plain}
}

// pick returns the transport for a route's protocol and the scheme that it
// takes; done is called when the request has ended.
func (t transports) pick(protocol string) (transport *http.Transport, scheme string, done func()) {
	switch protocol {
	case "h2c":
		// HTTP/2 shares connections between requests, unless the transport has one request only.
		own := newTransport()
		own.Protocols = new(http.Protocols)
		own.Protocols.SetUnencryptedHTTP2(true)
		return own, "http", own.CloseIdleConnections
	case "https":
		own := newTransport()
		own.ForceAttemptHTTP2 = true
		return own, "https", own.CloseIdleConnections
	default:
		return t.plain, "http", func() {}
	}
}

func newTransport() *http.Transport {
	dialer := net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // what the client accepts is its own affair
		// The address is the replica's own, inside the fleet's network; no
		// certificate could name it.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}
}
