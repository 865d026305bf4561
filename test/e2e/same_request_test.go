//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/test/stand"
)

// sameRequest is a request whose answer must be the same from an app that is
// awake and from one that it wakes.
type sameRequest struct {
	name string
	// raw is what is sent, with HOST for the service's host and \n for HTTP's
	// line break; later is sent after the answer 100 Continue.
	raw, later string
	h2         *stand.Request // instead of raw: over HTTP/2, with TLS
	failover   bool           // false: the service has failover off, and so keeps trailers
}

var sameRequests = []sameRequest{
	{name: "plain", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST\nUser-Agent: e2e/1\nAccept: */*\nAccept-Encoding: gzip\n\n"},
	{name: "bare", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST\n\n"},
	{name: "escapes", failover: true, raw: "GET /echo//a%2Fb/%7Ec;d?x=1;y=%2F&z HTTP/1.1\nHost: HOST\n\n"},
	{name: "port", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST:8080\n\n"},
	{name: "cookies", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST\nCookie: a=1; b=2\nCookie: c=3\n\n"},
	{name: "forwarded", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST\nX-Forwarded-For: 203.0.113.7\nX-Forwarded-Proto: https\nForwarded: for=203.0.113.7\nX-Real-Ip: 203.0.113.7\n\n"},
	{name: "many-values", failover: true, raw: "GET /echo HTTP/1.1\nHost: HOST\nX-Two: 1\nX-Two: 2\nTE: trailers\nConnection: X-Hop\nX-Hop: gone\nRange: bytes=0-1\n\n"},
	{name: "head", failover: true, raw: "HEAD /echo?status=206 HTTP/1.1\nHost: HOST\n\n"},
	{name: "no-content", failover: true, raw: "DELETE /echo?status=204 HTTP/1.1\nHost: HOST\n\n"},
	{name: "options", failover: true, raw: "OPTIONS /echo HTTP/1.1\nHost: HOST\nOrigin: http://x.test\n\n"},
	{name: "teapot", failover: true, raw: "GET /echo?status=418 HTTP/1.1\nHost: HOST\n\n"},
	{name: "post", failover: true, raw: "POST /echo HTTP/1.1\nHost: HOST\nContent-Type: text/plain\nContent-Length: 5\n\nhello"},
	{name: "empty-post", failover: true, raw: "POST /echo HTTP/1.1\nHost: HOST\nContent-Length: 0\n\n"},
	{name: "chunked", failover: true, raw: "POST /echo HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\n\n3\nabc\n2\nde\n0\n\n"},
	{name: "expect", failover: true, raw: "PUT /echo HTTP/1.1\nHost: HOST\nContent-Length: 5\nExpect: 100-continue\n\n", later: "hello"},
	{name: "trailers", raw: "POST /echo?trailer=sum HTTP/1.1\nHost: HOST\nTE: trailers\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n3\nabc\n0\nX-Sum: 42\n\n"},
	{name: "own-502", raw: "GET /echo?status=502 HTTP/1.1\nHost: HOST\n\n"},
	{name: "own-502-failover", failover: true, raw: "GET /echo?status=502 HTTP/1.1\nHost: HOST\n\n"},
	{name: "own-504-streamed", failover: true, raw: "GET /echo?status=504&stream=1 HTTP/1.1\nHost: HOST\n\n"},
	{name: "streamed", failover: true, raw: "GET /echo?stream=1 HTTP/1.1\nHost: HOST\n\n"},
	{name: "h2", failover: true, h2: &stand.Request{Path: "/echo/a%2Fb?x=1", Cookie: "a=1", TLS: true}},
	{name: "h2-post", failover: true, h2: &stand.Request{Method: http.MethodPost, Path: "/echo", Body: strings.Repeat("x", 20000), TLS: true}},
}

// sameAnswer is all that a client can see of an answer, without its date.
type sameAnswer struct {
	Status   string
	Length   int64
	Encoding []string
	Header   http.Header
	Seen     echoed // by the app
	Body     string // what was no echo
	Trailer  http.Header
}

func TestAWakingRequestIsTheSameThatAnAwakeAppGets(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	together(t, len(sameRequests), func(i int) {
		r := sameRequests[i]
		app := s.MockApp(r.name, r.host())
		app.Route.Failover = &r.failover
		s.Deploy(app)
	})
	awake := make([]sameAnswer, len(sameRequests))
	names := make([]string, len(sameRequests))
	for i, r := range sameRequests {
		awake[i], names[i] = r.ask(t, s), r.name
	}
	sleepAll(t, s, names...)
	for i, r := range sameRequests {
		if diff := cmp.Diff(awake[i], r.ask(t, s)); diff != "" {
			t.Errorf("%s (-awake +woken):\n%s", r.name, diff)
		}
	}
}

func (r sameRequest) host() string { return r.name + ".test" }

func (r sameRequest) ask(t *testing.T, s *stand.Stand) sameAnswer {
	t.Helper()
	if r.h2 != nil {
		return r.askHTTP2(t, s)
	}
	connection := dial(t, s.Edges[0])
	defer connection.Close()
	write(t, connection, strings.ReplaceAll(strings.ReplaceAll(r.raw, "HOST", r.host()), "\n", "\r\n"))
	reader := bufio.NewReader(connection)
	method, _, _ := strings.Cut(r.raw, " ")
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		if response.StatusCode == http.StatusContinue {
			write(t, connection, r.later)
			continue
		}
		return r.describe(t, response)
	}
}

func (r sameRequest) askHTTP2(t *testing.T, s *stand.Stand) sameAnswer {
	t.Helper()
	transport := s.Edges[0].Transport()
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	method, body := r.h2.Method, io.Reader(nil)
	if r.h2.Body != "" {
		body = strings.NewReader(r.h2.Body)
	}
	request, err := http.NewRequest(method, "https://"+r.host()+r.h2.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", r.h2.Cookie)
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	if response.ProtoMajor != 2 {
		t.Fatalf("%s: answered by %s", r.name, response.Proto)
	}
	return r.describe(t, response)
}

func (r sameRequest) describe(t *testing.T, response *http.Response) sameAnswer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	response.Header.Del("Date")
	answer := sameAnswer{
		Status: response.Status, Length: response.ContentLength, Encoding: response.TransferEncoding,
		Header: response.Header, Trailer: response.Trailer,
	}
	if bytes.HasPrefix(body, []byte("{")) {
		answer.Seen = echoOf(t, string(body))
	} else {
		answer.Body = string(body)
	}
	return answer
}

// dial connects to the plain entry point of an edge, for what net/http does not send.
func dial(t *testing.T, edge *stand.Edge) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(edge.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return connection
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := fmt.Fprint(w, text); err != nil {
		t.Fatal(err)
	}
}
