package fallback

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// echo answers with all that it saw of a request.
func echo(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var seen strings.Builder
	fmt.Fprintf(&seen, "%s %s %s\nhost %s\nlength %d %v\n", req.Method, req.RequestURI, req.Proto, req.Host, req.ContentLength, req.TransferEncoding)
	writeHeaders(&seen, "header", req.Header)
	fmt.Fprintf(&seen, "body %d %q %v\n", len(body), clip(body), err)
	writeHeaders(&seen, "trailer", req.Trailer)
	if strings.HasPrefix(req.URL.Path, "/answer/") {
		answerSpecially(w, req)
		return
	}
	w.Header()["X-Twice"] = []string{"one", "two"}
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, seen.String())
}

// answerSpecially answers in a way that a proxy can get wrong.
func answerSpecially(w http.ResponseWriter, req *http.Request) {
	switch strings.TrimPrefix(req.URL.Path, "/answer/") {
	case "no-type":
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>not to be guessed</html>")
	case "no-content":
		w.WriteHeader(http.StatusNoContent)
	case "chunked":
		for range 3 {
			io.WriteString(w, "part ")
			http.NewResponseController(w).Flush()
		}
	case "trailers":
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	case "hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "after the hints")
	case "teapot":
		http.Error(w, "short and stout", http.StatusTeapot)
	case "502":
		http.Error(w, "the app's own", http.StatusBadGateway)
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		w.Write([]byte{0x1f, 0x8b, 0, 1, 2})
	}
}

func clip(body []byte) []byte { return body[:min(len(body), 200)] }

func writeHeaders(w io.Writer, kind string, header http.Header) {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range header[name] {
			fmt.Fprintf(w, "%s %s: %s\n", kind, name, value)
		}
	}
}

// exchange sends raw bytes and returns all that came back, put into order.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, request) //nolint:errcheck // the answer tells
	reader := bufio.NewReader(conn)
	method, _, _ := strings.Cut(request, " ")
	var got strings.Builder
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		response.Header.Del("Date")
		fmt.Fprintf(&got, "%d %d %v\n", response.StatusCode, response.ContentLength, response.TransferEncoding)
		writeHeaders(&got, "header", response.Header)
		if response.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(response.Body)
		fmt.Fprintf(&got, "body %v\n%s\n", err, body)
		writeHeaders(&got, "trailer", response.Trailer)
		return got.String()
	}
}

var edgeHeaders = HeaderEdge + ": " + secret + "\r\n" + HeaderService + ": app\r\n" + HeaderLeg + ": asleep\r\n"

// requests are the kinds of request that must reach an app unchanged. The
// first line is the request line; \n stands for the line break of HTTP.
var requests = map[string]string{
	"plain":                        "GET / HTTP/1.1\nHost: app.test\nUser-Agent: curl/8\nAccept: */*\n\n",
	"no User-Agent":                "GET / HTTP/1.1\nHost: app.test\n\n",
	"Accept-Encoding":              "GET / HTTP/1.1\nHost: app.test\nAccept-Encoding: br, gzip\n\n",
	"host with port":               "GET / HTTP/1.1\nHost: App.test:8443\n\n",
	"%2F in the path":              "GET /a%2Fb/%41%20c%3F HTTP/1.1\nHost: app.test\n\n",
	"double slash":                 "GET //a//b/../c/./ HTTP/1.1\nHost: app.test\n\n",
	"semicolons in the query":      "GET /p?a=1;b=2&c=%zz&d HTTP/1.1\nHost: app.test\n\n",
	"empty query":                  "GET /p? HTTP/1.1\nHost: app.test\n\n",
	"HEAD":                         "HEAD /p HTTP/1.1\nHost: app.test\n\n",
	"POST":                         "POST /p HTTP/1.1\nHost: app.test\nContent-Type: text/plain\nContent-Length: 5\n\nhello",
	"empty POST":                   "POST /p HTTP/1.1\nHost: app.test\nContent-Length: 0\n\n",
	"large POST":                   "POST /p HTTP/1.1\nHost: app.test\nContent-Length: 300000\n\n" + strings.Repeat("x", 300000),
	"chunked":                      "POST /p HTTP/1.1\nHost: app.test\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
	"chunked with trailers":        "PUT /p HTTP/1.1\nHost: app.test\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\nX-Sum: 42\n\n",
	"two Cookie lines":             "GET / HTTP/1.1\nHost: app.test\nCookie: a=1; b=2\nCookie: c=\"3\"\n\n",
	"headers that are repeated":    "GET / HTTP/1.1\nHost: app.test\nX-A: 1\nX-A: 2\nX-Empty:\n\n",
	"X-Forwarded from the edge":    "GET / HTTP/1.1\nHost: app.test\nX-Forwarded-For: 203.0.113.7, 10.0.0.1\nX-Forwarded-Host: app.test\nX-Forwarded-Port: 443\nX-Forwarded-Proto: https\nX-Forwarded-Server: edge\nX-Real-Ip: 203.0.113.7\nForwarded: for=203.0.113.7\n\n",
	"several X-Forwarded-For":      "GET / HTTP/1.1\nHost: app.test\nX-Forwarded-For: 203.0.113.7\nX-Forwarded-For: 10.0.0.1\n\n",
	"path middlewares of the edge": "GET /status HTTP/1.1\nHost: app.test\nX-Replaced-Path: /minion-1/status\nX-Forwarded-Prefix: /a\n\n",
	"Expect":                       "PUT /p HTTP/1.1\nHost: app.test\nExpect: 100-continue\nContent-Length: 5\n\nhello",
	"OPTIONS":                      "OPTIONS /p HTTP/1.1\nHost: app.test\nOrigin: http://x\nAccess-Control-Request-Method: PUT\n\n",
	"DELETE with a body":           "DELETE /p HTTP/1.1\nHost: app.test\nContent-Length: 2\n\nhi",
	"a method of its own":          "PURGE /p HTTP/1.1\nHost: app.test\n\n",
	"absolute form":                "GET http://app.test/p?q HTTP/1.1\nHost: app.test\n\n",
	"TE: trailers":                 "GET / HTTP/1.1\nHost: app.test\nTe: trailers\n\n",
	"range, authorization, etag":   "GET / HTTP/1.1\nHost: app.test\nRange: bytes=0-1\nAuthorization: Basic eDp5\nIf-None-Match: \"x\"\n\n",
	"answer without a type":        "GET /answer/no-type HTTP/1.1\nHost: app.test\n\n",
	"answer without a body":        "GET /answer/no-content HTTP/1.1\nHost: app.test\n\n",
	"answer in chunks":             "GET /answer/chunked HTTP/1.1\nHost: app.test\n\n",
	"answer with trailers":         "GET /answer/trailers HTTP/1.1\nHost: app.test\nTe: trailers\n\n",
	"answer with early hints":      "GET /answer/hints HTTP/1.1\nHost: app.test\n\n",
	"answer of an error":           "GET /answer/teapot HTTP/1.1\nHost: app.test\n\n",
	"the app's own 502":            "GET /answer/502 HTTP/1.1\nHost: app.test\n\n",
	"answer that is compressed":    "GET /answer/gzip HTTP/1.1\nHost: app.test\n\n",
}

func TestAnAppSeesTheSameRequestAndItsClientTheSameAnswer(t *testing.T) {
	origin := app(t, echo)
	router := public(t, newRouter(t, fleetOf(service("app", nil)).readyAt(origin), nil))
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			head, body, _ := strings.Cut(request, "\n\n")
			if strings.Contains(head, "chunked") {
				body = strings.ReplaceAll(body, "\n", "\r\n")
			}
			line, headers, _ := strings.Cut(strings.ReplaceAll(head, "\n", "\r\n")+"\r\n", "\r\n")
			// A proxy asks in origin form, as the edge does.
			want := exchange(t, origin, strings.Replace(line, "http://app.test", "", 1)+"\r\n"+headers+"\r\n"+body)
			got := exchange(t, router, line+"\r\n"+edgeHeaders+headers+"\r\n"+body)
			// The app's own 100 may follow that of the router, which reads the body by then; a client takes any number.
			got = strings.ReplaceAll(got, "100 0 []\n100 0 []\n", "100 0 []\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("direct against proxied (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutTheSecretNothingThatTheClientClaimsReachesTheApp(t *testing.T) {
	origin := app(t, echo)
	router := public(t, newRouter(t, fleetOf(service("app", nil)).readyAt(origin), nil))
	got := exchange(t, router, "GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Real-Ip: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n"+
		"Forwarded: for=1.2.3.4\r\nX-Forwarded-Prefix: /x\r\nX-Forwarded-Proto: https\r\nX-Spawner-Edge: wrong\r\nX-Spawner-Service: app\r\nX_Spawner_Leg: asleep\r\nX-Kept: yes\r\n\r\n")
	_, seen, _ := strings.Cut(got, "body <nil>\n")
	want := "GET / HTTP/1.1\nhost app.test\nlength 0 []\n" +
		"header X-Forwarded-For: 127.0.0.1\nheader X-Forwarded-Host: app.test\nheader X-Forwarded-Proto: http\nheader X-Kept: yes\nbody 0 \"\" <nil>\n\n"
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWebSocketIsHandedThroughInBothDirections(t *testing.T) {
	var handshake bytes.Buffer
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- rawWebSocket(listener, &handshake) }()
	e := fleetOf(service("app", func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerRedirect })).readyAt(listener.Addr().String())
	router := newRouter(t, e, nil)
	conn, err := net.Dial("tcp", public(t, router))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: app.test\r\n%sConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", edgeHeaders)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", response, err)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	echoed := make([]byte, 4)
	if _, err := io.ReadFull(reader, echoed); err != nil || string(echoed) != "ping" {
		t.Errorf("got %q, %v", echoed, err)
	}
	if held := e.held("app"); held != 1 {
		t.Errorf("%d holds while the WebSocket is open, want 1", held)
	}
	if stats := router.Stats(); stats.Held != 0 || stats.Proxied != 1 {
		t.Errorf("got %+v, want it to count as proxied", stats)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n", "\r\nSec-WebSocket-Version: 13\r\n", "\r\nUpgrade: websocket\r\n"} {
		if !strings.Contains(handshake.String(), want) {
			t.Errorf("the handshake lacks %q: %q", want, handshake.String())
		}
	}
	if strings.Contains(handshake.String(), "Spawner") {
		t.Errorf("our headers reached the app: %q", handshake.String())
	}
}

// rawWebSocket accepts one connection, keeps its handshake and echoes until its end.
func rawWebSocket(listener net.Listener, handshake *bytes.Buffer) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		handshake.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.Copy(conn, reader)
	return err
}
