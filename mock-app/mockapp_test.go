package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

func startApp(t *testing.T, change func(*config)) (*app, *httptest.Server) {
	t.Helper()
	c := config{Port: 9000, Protocol: "http", Version: "v1", Connection: "db <1>", Hostname: "minion-1", IDsFile: filepath.Join(t.TempDir(), "ids")}
	if change != nil {
		change(&c)
	}
	a, err := newApp(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(a)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(c.Protocol == "h2c")
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); a.Close() })
	return a, server
}

func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestHomeShowsWhoAnswered(t *testing.T) {
	_, server := startApp(t, nil)
	_, got := ask(t, "GET", server.URL, "")
	if want := "hostname: minion-1\nversion: v1\nconnstr: db <1>\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestItExpiresAfterATimeWithoutARequestForHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIdle(time.Minute)
		defer i.Close()
		started := time.Now()
		time.Sleep(50 * time.Second)
		i.Used()
		<-i.Expired()
		if got, want := time.Since(started), 110*time.Second; got != want {
			t.Errorf("expired after %s, want %s", got, want)
		}
	})
}

func TestItEndsWithoutAnErrorWhenIdle(t *testing.T) {
	a, _ := startApp(t, func(c *config) { c.Idle = time.Millisecond })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.run(t.Context(), listener); err != nil {
		t.Error(err)
	}
}

func TestOnSIGTERMItEndsAfterTheStopDelay(t *testing.T) {
	const delay = 30 * time.Millisecond
	a, _ := startApp(t, func(c *config) { c.StopDelay = delay })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	started := time.Now()
	if err := a.run(ctx, listener); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took < delay {
		t.Errorf("it ended after %s, want at least %s", took, delay)
	}
}

func TestHealthIsWhatStatusAnswers(t *testing.T) {
	_, server := startApp(t, nil)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	if err := askHealth(port); err != nil {
		t.Error(err)
	}
	ask(t, "POST", server.URL+"/unhealthy", "")
	if err := askHealth(port); err == nil {
		t.Error("an ill app is called healthy")
	}
	ask(t, "POST", server.URL+"/healthy", "")
	if err := askHealth(port); err != nil {
		t.Error(err)
	}
}

func TestItIsNotReadyBeforeItsDelay(t *testing.T) {
	_, server := startApp(t, func(c *config) { c.ReadyDelay = time.Hour })
	for _, path := range []string{"/", "/status"} {
		if status, _ := ask(t, "GET", server.URL+path, ""); status != http.StatusServiceUnavailable {
			t.Errorf("%s answered %d, want 503", path, status)
		}
	}
}

func TestAHangingAppAnswersNothing(t *testing.T) {
	_, server := startApp(t, nil)
	ask(t, "POST", server.URL+"/hang", "")
	client := http.Client{Timeout: 50 * time.Millisecond}
	if response, err := client.Get(server.URL + "/status"); err == nil {
		response.Body.Close()
		t.Errorf("it answered %s", response.Status)
	}
}

func TestEchoShowsTheRequestAsItArrived(t *testing.T) {
	_, server := startApp(t, nil)
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	io.WriteString(connection, "POST /echo//a%2Fb;c?x=1;y HTTP/1.1\r\nHost: a.example:81\r\nX-Two: 1\r\nX-Two: 2\r\n"+
		"Transfer-Encoding: chunked\r\nTrailer: X-End\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-End: yes\r\n\r\n")
	_, body, _ := strings.Cut(readAll(t, connection), "\r\n\r\n")
	var got echoed
	if err := json.NewDecoder(strings.NewReader(body[strings.Index(body, "{"):])).Decode(&got); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	want := echoed{
		Method: "POST", URI: "/echo//a%2Fb;c?x=1;y", Proto: "HTTP/1.1", Host: "a.example:81",
		Headers:       http.Header{"X-Two": {"1", "2"}, "Connection": {"close"}},
		ContentLength: -1, TransferEncoding: []string{"chunked"}, Body: []byte("abc"), Trailers: http.Header{"X-End": {"yes"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("echo (-want +got):\n%s", diff)
	}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEchoAnswersTheStatusAndTheTrailerAskedFor(t *testing.T) {
	_, server := startApp(t, nil)
	response, err := http.Get(server.URL + "/echo?status=502&trailer=t")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	readAll(t, response.Body)
	if response.StatusCode != 502 || response.Trailer.Get("X-Echo-Trailer") != "t" {
		t.Errorf("got %d and trailers %v", response.StatusCode, response.Trailer)
	}
}

func TestEchoStreamsWithoutALength(t *testing.T) {
	_, server := startApp(t, nil)
	response, err := http.Get(server.URL + "/echo?status=502&stream=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body := readAll(t, response.Body); response.StatusCode != 502 || response.ContentLength != -1 || !strings.Contains(body, `"method":"GET"`) {
		t.Errorf("got %d of %d bytes: %s", response.StatusCode, response.ContentLength, body)
	}
}

func TestUploadCountsAndDownloadSendsTheBytes(t *testing.T) {
	_, server := startApp(t, nil)
	_, got := ask(t, "PUT", server.URL+"/upload", strings.Repeat("x", 100_000))
	if !strings.Contains(got, `"bytes":100000`) {
		t.Errorf("got %s", got)
	}
	if _, got := ask(t, "GET", server.URL+"/download?bytes=100000&rate=10000000", ""); len(got) != 100_000 {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestEventsAreSentOneByOne(t *testing.T) {
	_, server := startApp(t, nil)
	_, got := ask(t, "GET", server.URL+"/events?every=1ms&count=2", "")
	if want := "id: 1\ndata: minion-1\n\nid: 2\ndata: minion-1\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheWebSocketSendsMessagesBack(t *testing.T) {
	_, server := startApp(t, nil)
	connection, _, err := websocket.Dial(t.Context(), server.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.CloseNow()
	if err := connection.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := connection.Read(t.Context()); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestIDsAreCountedAcrossRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids")
	change := func(c *config) { c.IDsFile = path }
	var reported bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(&reported, r.Body) }))
	defer collector.Close()
	_, first := startApp(t, func(c *config) { c.IDsFile, c.IDsURL = path, collector.URL })
	ask(t, "POST", first.URL+"/ids", "a")
	_, second := startApp(t, change)
	ask(t, "POST", second.URL+"/ids", "a")
	ask(t, "POST", second.URL+"/ids", "b")
	if _, got := ask(t, "GET", second.URL+"/ids", ""); got != `{"a":2,"b":1}`+"\n" {
		t.Errorf("got %s", got)
	}
	if reported.String() != "a" {
		t.Errorf("reported %q", reported.String())
	}
	if status, _ := ask(t, "POST", second.URL+"/ids", "a\nb"); status != http.StatusBadRequest {
		t.Errorf("two ids in one: %d", status)
	}
}

func TestGRPCEchoesOnThePortOfHTTP(t *testing.T) {
	_, server := startApp(t, func(c *config) { c.Protocol = "h2c" })
	connection, err := grpc.NewClient(server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	client := testpb.NewTestServiceClient(connection)
	payload := &testpb.Payload{Body: []byte("hello")}
	var trailer metadata.MD
	answer, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: payload}, grpc.Trailer(&trailer))
	if err != nil || string(answer.GetPayload().GetBody()) != "hello" || len(trailer.Get("x-echo-trailer")) != 1 {
		t.Errorf("unary: %v, %v, trailer %v", answer, err, trailer)
	}
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: payload}); err != nil {
			t.Fatal(err)
		}
		if answer, err := stream.Recv(); err != nil || string(answer.GetPayload().GetBody()) != "hello" {
			t.Fatalf("stream: %v, %v", answer, err)
		}
	}
	if status, _ := ask(t, "GET", server.URL+"/status", ""); status != http.StatusOK {
		t.Errorf("HTTP/1 beside it answered %d", status)
	}
}

func TestTheEnvironmentIsReadOrRefused(t *testing.T) {
	env := map[string]string{"IDLE": "0", "PORT": "8080", "PROTOCOL": "h2c"}
	c, err := readConfig(func(name string) string { return env[name] })
	if err != nil || c.Idle != 0 || c.Port != 8080 || c.Protocol != "h2c" {
		t.Errorf("got %+v, %v", c, err)
	}
	env = map[string]string{"IDLE": "soon", "PORT": "0", "PROTOCOL": "spdy", "UNHEALTHY": "maybe", "STOP_DELAY": "-1s"}
	_, err = readConfig(func(name string) string { return env[name] })
	for name := range env {
		if err == nil || !strings.Contains(err.Error(), name+"=") {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
}
