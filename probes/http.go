package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edgespawner/fleet"
)

const (
	userAgent = "spawner-probe"
	// mostBody and mostDrain bound what is read of a body, so that an app sees
	// its answer taken; the rest is cut off with the connection.
	mostBody  = 64 << 10
	mostDrain = 50 * time.Millisecond
)

// probeHTTP asks the check's endpoint at the replica's own address, on a
// connection of its own, and judges the status alone.
func probeHTTP(ctx context.Context, t Target, check fleet.HealthCheck, connect time.Duration) error {
	u, err := fleet.ParseEndpoint(check.Endpoint, t.Service)
	if err != nil {
		return fleet.InvalidField("health_check.endpoint", "%s", err)
	}
	// The query may hold a secret; the reason given in an event must not.
	shown := u.Scheme + "://" + u.Host + u.EscapedPath()
	address := t.address(endpointPort(u))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("cannot ask %s: %w", shown, err)
	}
	setHeaders(request, check.Headers)
	transport := probeTransport(address, connect)
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return plainHTTP(ctx, shown, err)
	}
	defer response.Body.Close()
	drain(response.Body, cancel)
	if !statusOK(response.StatusCode, check.OKStatus) {
		return &errAnswered{fmt.Sprintf("GET %s answered %d, not %s", shown, response.StatusCode, wanted(check.OKStatus))}
	}
	return nil
}

var errNotHTTP = errors.New("not an HTTP answer")

// errAnswered marks the failure of an app that answers, and not as it should.
type errAnswered struct{ text string }

func (e *errAnswered) Error() string { return e.text }

// endpointPort returns the port of an endpoint: as written, else its scheme's.
func endpointPort(u *url.URL) int {
	if number, err := strconv.Atoi(u.Port()); err == nil {
		return number
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

// drain reads a body within its bounds. What becomes of it is of no interest:
// the status has been told.
func drain(body io.Reader, cancel context.CancelFunc) {
	timer := time.AfterFunc(mostDrain, cancel)
	defer timer.Stop()
	if _, err := io.CopyN(io.Discard, body, mostBody); err != nil {
		return
	}
}

// plainHTTP puts a failure of a request into words that hold nothing of what
// the app sent.
func plainHTTP(ctx context.Context, shown string, err error) error {
	var refused *errConnect
	var handshake *tls.RecordHeaderError
	var number syscall.Errno
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = errors.New("no answer in time")
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the connection was closed without an answer")
	case errors.As(err, &number):
		err = number
	case errors.As(err, &handshake):
		err = errors.New("not a TLS answer")
	default:
		err = errNotHTTP
	}
	return fmt.Errorf("GET %s: %w", shown, err)
}

// probeTransport returns a transport for one request, which dials address
// whatever the URL says, follows nothing, and takes any certificate: the
// address is the replica's own, and a probe hands over no secret but its headers.
func probeTransport(address netip.AddrPort, connect time.Duration) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, address, connect)
		},
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // reached by address, inside the fleet's network
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// setHeaders sets the check's headers; Host is the request's own field.
func setHeaders(request *http.Request, headers map[string]fleet.Secret) {
	request.Header.Set("User-Agent", userAgent)
	for name, value := range headers {
		if strings.EqualFold(name, "Host") {
			request.Host = value.Reveal()
			continue
		}
		request.Header.Set(name, value.Reveal())
	}
}

func statusOK(status int, ok []int) bool {
	if len(ok) == 0 {
		return status >= 200 && status <= 399
	}
	return slices.Contains(ok, status)
}

// wanted puts the accepted statuses into words.
func wanted(ok []int) string {
	if len(ok) == 0 {
		return "200 to 399"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ok), " ", " or "), "[]")
}
