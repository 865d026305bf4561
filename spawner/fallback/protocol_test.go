package fallback

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"edgespawner/fleet"
)

// speaks returns a spec that says which protocol the app speaks.
func speaks(protocol string) func(*fleet.Spec) {
	return func(s *fleet.Spec) { s.Route = &fleet.Route{Protocol: protocol} }
}

func TestTheAppIsSpokenToInItsProtocol(t *testing.T) {
	protocolOf := func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Proto, " ", req.TLS != nil) }
	secure := httptest.NewUnstartedServer(http.HandlerFunc(protocolOf))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	plain := app(t, protocolOf)
	tests := []struct{ protocol, address, want string }{
		{"", plain, "HTTP/1.1 false"},
		{"http", plain, "HTTP/1.1 false"},
		{"h2c", plain, "HTTP/2.0 false"},
		{"https", secure.Listener.Addr().String(), "HTTP/2.0 true"},
	}
	for _, test := range tests {
		r := newRouter(t, fleetOf(service("app", speaks(test.protocol))).readyAt(test.address), nil)
		if w := answer(r, get("http://app.test/")); w.Body.String() != test.want {
			t.Errorf("protocol %q: got %d %q, want %q", test.protocol, w.Code, w.Body, test.want)
		}
	}
}

func TestADialThatFailsIsRepeatedInEveryProtocol(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		origin := app(t, echo)
		dead := fleetOf().readyAt(closedAddress(t))
		e := fleetOf(service("app", speaks(protocol))).readyAt(origin)
		alive := e.wake
		e.wake = func(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
			if e.woken() == 1 {
				return dead.wake(ctx, name, cause)
			}
			return alive(ctx, name, cause)
		}
		req := onLeg(httptest.NewRequest(http.MethodPost, "http://app.test/", strings.NewReader("hello")), "app", LegAsleep)
		if w := answer(newRouter(t, e, nil), req); w.Code != 200 || !strings.Contains(w.Body.String(), `body 5 "hello"`) {
			t.Errorf("%s: got %d %q", protocol, w.Code, w.Body)
		}
	}
}

func TestBothDirectionsOfAStreamFlowAtOnceOverHTTP1(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, req *http.Request) {
		lines := bufio.NewScanner(req.Body)
		for lines.Scan() {
			fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			http.NewResponseController(w).Flush()
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	r := newRouter(t, fleetOf(service("app", speaks("h2c"))).readyAt(origin), nil)
	conn, err := net.Dial("tcp", public(t, r))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chunk := func(text string) {
		if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(text), text); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(conn, "POST /stream HTTP/1.1\r\nHost: app.test\r\n%sTe: trailers\r\nTransfer-Encoding: chunked\r\n\r\n", edgeHeaders)
	chunk("one\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(response.Body)
	for _, word := range []string{"ONE\n", "TWO\n", "THREE\n"} {
		if got, err := answers.ReadString('\n'); err != nil || got != word {
			t.Fatalf("got %q, %v, want %q before the next is sent", got, err, word)
		}
		switch word {
		case "ONE\n":
			chunk("two\n")
		case "TWO\n":
			chunk("three\n")
		default:
			chunk("")
		}
	}
	if _, err := io.Copy(io.Discard, answers); err != nil || response.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("got trailers %v, %v", response.Trailer, err)
	}
}

func TestEventsAreHandedOnOneByOne(t *testing.T) {
	next := make(chan string)
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			fmt.Fprintf(w, "data: %s\n\n", event)
			http.NewResponseController(w).Flush()
		}
	})
	e := fleetOf(service("app", nil)).readyAt(origin)
	r := newRouter(t, e, nil)
	conn, err := net.Dial("tcp", public(t, r))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: app.test\r\n%s\r\n", edgeHeaders)
	reader := bufio.NewReader(conn)
	next <- "first"
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(response.Body)
	for _, event := range []string{"first", "second", "third"} {
		if got, err := lines.ReadString('\n'); err != nil || got != "data: "+event+"\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		switch event {
		case "first":
			next <- "second"
		case "second":
			next <- "third"
		}
	}
	if e.held("app") != 1 {
		t.Error("a stream that is open does not hold its service")
	}
	close(next)
}

func TestGRPCWorksThroughAWake(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	checks := health.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	e := fleetOf(service("app", speaks("h2c"))).readyAt(listener.Addr().String())
	client, err := grpc.NewClient(public(t, newRouter(t, e, nil)), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("app.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	calls := healthpb.NewHealthClient(client)
	answered, err := calls.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || answered.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("unary: got %v, %v", answered, err)
	}
	if _, err := calls.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("the app's own error: got %v, want NotFound", err)
	}
	stream, err := calls.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		got, err := stream.Recv()
		if err != nil || got.Status != want {
			t.Fatalf("stream: got %v, %v, want %v", got, err, want)
		}
		checks.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	}
	e.failing(fleet.Errorf(fleet.Timeout, "waited for the port, 50%% there"))
	_, err = calls.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "waited for the port, 50% there" {
		t.Errorf("our error: got %v", err)
	}
}

func TestDeploysWhileRequestsAreServed(t *testing.T) {
	origin := app(t, func(http.ResponseWriter, *http.Request) {})
	e := fleetOf(service("app", nil)).readyAt(origin)
	swapping := &swappingEngine{engine: e}
	swapping.current.Store(e.snapshot)
	r, err := New(Config{Waker: swapping, Matcher: byHost(e), EdgeSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for version := range uint64(200) {
			swapping.current.Store(&fleet.Snapshot{Version: version, Services: []fleet.Routed{service("app", nil)}})
		}
	}()
	for range 50 {
		if w := answer(r, get("http://app.test/")); w.Code != 200 {
			t.Errorf("got %d", w.Code)
		}
	}
	<-done
	r.Close()
}
