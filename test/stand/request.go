package stand

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// requestTime is how long a client of a test waits for an answer.
const requestTime = 30 * time.Second

// Request is a request of a client to an edge. Its zero fields mean GET / at the first edge.
type Request struct {
	Edge   *Edge // nil = the stand's first one
	Method string
	TLS    bool
	Host   string
	Path   string // with its query
	Header map[string]string
	Cookie string // name=value
	Body   string
	Within time.Duration // 0 = requestTime
	Follow int           // redirects that are followed; 0 = none, the answer is the redirect itself
}

// Answer is what a client got.
type Answer struct {
	t T

	Status int // 0 when there was none
	Header http.Header
	Body   string
	Took   time.Duration
	TLS    *tls.ConnectionState
	Err    error
}

// Get asks the first edge over a connection of its own.
func (s *Stand) Get(host, path string) Answer {
	s.t.Helper()
	return s.Do(Request{Host: host, Path: path})
}

// Post sends a body to the first edge.
func (s *Stand) Post(host, path, body string) Answer {
	s.t.Helper()
	return s.Do(Request{Method: http.MethodPost, Host: host, Path: path, Body: body})
}

// Do sends a request over a connection of its own.
func (s *Stand) Do(r Request) Answer {
	s.t.Helper()
	edge := r.Edge
	if edge == nil {
		edge = s.Edges[0]
	}
	within := r.Within
	if within == 0 {
		within = requestTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	request, err := r.build(ctx)
	must(s.t, err, "build the request for %s%s", r.Host, r.Path)
	transport := edge.Transport()
	defer transport.CloseIdleConnections()
	followed := 0
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		followed++
		if followed > r.Follow {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	began := time.Now()
	answer := Answer{t: s.t}
	response, err := client.Do(request)
	if err != nil {
		answer.Err, answer.Took = err, time.Since(began)
		return answer
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	answer.Status, answer.Header, answer.TLS = response.StatusCode, response.Header, response.TLS
	answer.Body, answer.Err, answer.Took = string(body), err, time.Since(began)
	return answer
}

func (r Request) build(ctx context.Context) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	path := r.Path
	if path == "" {
		path = "/"
	}
	host := r.Host
	if host == "" {
		host = "nobody.test"
	}
	request, err := http.NewRequestWithContext(ctx, method, scheme+"://"+host+path, strings.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	if r.Body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	for key, value := range r.Header {
		request.Header.Set(key, value)
	}
	if r.Cookie != "" {
		request.Header.Set("Cookie", r.Cookie)
	}
	return request, nil
}

// Transport dials this edge whatever a URL's host is, http at its plain and
// https at its TLS entry point, and trusts any certificate (a test that cares
// looks at the answer's TLS).
func (e *Edge) Transport() *http.Transport {
	var dialer net.Dialer
	dial := func(port int) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
		}
	}
	return &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":443") || strings.HasSuffix(address, fmt.Sprintf(":%d", e.webSecurePort)) {
				return dial(e.webSecurePort)(ctx, network, address)
			}
			return dial(e.webPort)(ctx, network, address)
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the default certificate is nobody's
		DisableCompression:  true,
		MaxIdleConnsPerHost: 256,
	}
}

// MustBe fails the test unless the answer has that status.
func (a Answer) MustBe(status int) Answer {
	a.t.Helper()
	if a.Err != nil {
		a.t.Fatalf("no whole answer after %v: %v", a.Took, a.Err)
	}
	if a.Status != status {
		a.t.Fatalf("got status %d after %v, want %d: %s", a.Status, a.Took, status, bytes.TrimSpace([]byte(a.Body)))
	}
	return a
}

// MustContain fails the test unless the body contains text.
func (a Answer) MustContain(text string) Answer {
	a.t.Helper()
	if !strings.Contains(a.Body, text) {
		a.t.Fatalf("the body lacks %q: %s", text, a.Body)
	}
	return a
}
