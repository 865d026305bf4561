//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// openWebSocket connects to a host's /ws and echoes one message.
func openWebSocket(t *testing.T, s *stand.Stand, host string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	transport := s.Edges[0].Transport()
	connection, response, err := websocket.Dial(ctx, "ws://"+host+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatalf("cannot open a WebSocket to %s: %v (%v)", host, err, response)
	}
	t.Cleanup(func() { connection.CloseNow() }) //nolint:errcheck // it may be closed already
	mustEcho(t, connection, "hello")
	return connection
}

func mustEcho(t *testing.T, connection *websocket.Conn, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := connection.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatalf("the WebSocket takes no message: %v", err)
	}
	if _, got, err := connection.Read(ctx); err != nil || string(got) != message {
		t.Fatalf("the WebSocket sent %q, %v, want %q", got, err, message)
	}
}

// openEvents asks a host's /events and returns its lines, of which the first is there.
func openEvents(t *testing.T, s *stand.Stand, host, query string) *bufio.Scanner {
	t.Helper()
	body := open(t, s, "http://"+host+"/events?"+query)
	lines := bufio.NewScanner(body)
	if !lines.Scan() || lines.Text() != "id: 1" {
		t.Fatalf("the first line of the events is %q, %v", lines.Text(), lines.Err())
	}
	return lines
}

// open begins a GET and returns the body of its answer, which the test's end closes.
func open(t *testing.T, s *stand.Stand, url string) io.Reader {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := s.Edges[0].Transport()
	transport.DisableKeepAlives = true
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s", url, response.Status)
	}
	return response.Body
}

func TestAWebSocketWorksAwakeAndThroughAWake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	openWebSocket(t, s, "web.test").CloseNow() //nolint:errcheck // nothing depends on it
	s.Sleep("web")
	woken := openWebSocket(t, s, "web.test")
	s.Deploy(s.MockApp("other", "other.test")) // a new document for the edge
	mustEcho(t, woken, strings.Repeat("x", 30_000))
}

func TestServerSentEventsArriveOneByOneAwakeAndThroughAWake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	for _, state := range []string{"awake", "through a wake"} {
		lines := openEvents(t, s, "web.test", "every=1s&count=4")
		began, count := time.Now(), 1
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "id: ") {
				count++
			}
		}
		if took := time.Since(began); count != 4 || took < 1500*time.Millisecond {
			t.Errorf("%s: %d events, the last %s after the first; want 4, one after another", state, count, took)
		}
		if state == "awake" {
			s.Sleep("web")
		}
	}
}

func TestTrailersArriveWhereFailoverIsOff(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Route.Failover = new(false)
	s.Deploy(app)
	for _, state := range []string{"awake", "through a wake"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web.test/echo?trailer=sum", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := s.Edges[0].Transport().RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil { // trailers come after it
			t.Fatal(err)
		}
		response.Body.Close()
		if got := response.Trailer.Get("X-Echo-Trailer"); got != "sum" {
			t.Errorf("%s: the client got the trailers %v", state, response.Trailer)
		}
		if state == "awake" {
			s.Sleep("web")
		}
	}
}

func TestALongAnswerThatIsReadSlowlyOutlivesAChangeOfTheFleet(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("web", "web.test"))
	body := open(t, s, "http://web.test/download?bytes=4000000&rate=1000000")
	s.Deploy(s.MockApp("other", "other.test"))
	s.Restart("web") // the app that answers is drained before it is stopped
	if n, err := io.Copy(io.Discard, body); err != nil || n != 4_000_000 {
		t.Errorf("got %d bytes, %v, want 4000000", n, err)
	}
	if status := s.Service("web").Status; status != fleet.StatusRunning {
		t.Errorf("web is %s", status)
	}
}
