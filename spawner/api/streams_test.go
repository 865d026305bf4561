package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

var at = time.Date(2024, 1, 15, 10, 23, 45, 0, time.UTC)

// twoLines logs a line of each of two replicas, and then ends as err says.
func twoLines(err error) func(context.Context, func(fleet.LogLine) error) error {
	return func(_ context.Context, line func(fleet.LogLine) error) error {
		for i, text := range []string{"hello", "there <b>"} {
			l := fleet.LogLine{Time: at, Replica: fleet.ReplicaName("api", i), Stream: "stdout", Text: text}
			if err := line(l); err != nil {
				return err
			}
		}
		return err
	}
}

func TestLogsAreTextUntilAskedForAsJSON(t *testing.T) {
	for _, c := range []struct{ query, accept, media, want string }{
		{"", "", "text/plain; charset=utf-8", "api-0 | hello\napi-1 | there <b>\n"},
		{"?timestamps", "", "text/plain; charset=utf-8", "2024-01-15T10:23:45Z api-0 | hello\n2024-01-15T10:23:45Z api-1 | there <b>\n"},
		{"?replica=api-0", "*/*", "text/plain; charset=utf-8", "hello\nthere <b>\n"},
		{"?follow=1", "text/html, application/x-ndjson;q=0.9", "application/x-ndjson",
			`{"time":"2024-01-15T10:23:45Z","replica":"api-0","stream":"stdout","text":"hello"}` + "\n" +
				`{"time":"2024-01-15T10:23:45Z","replica":"api-1","stream":"stdout","text":"there \u003cb\u003e"}` + "\n"},
	} {
		f := newEngine()
		f.lines = twoLines(nil)
		w := ask(t, f, "GET", "/api/services/api/logs"+c.query, "", "Accept", c.accept)
		if diff := cmp.Diff(c.want, w.Body.String()); diff != "" || w.Header().Get("Content-Type") != c.media {
			t.Errorf("%q: %s %s", c.query, w.Header().Get("Content-Type"), diff)
		}
	}
}

func TestLogsThatBreakOffSaySo(t *testing.T) {
	f := newEngine()
	f.lines = twoLines(fleet.Errorf(fleet.Unavailable, "node local is silent"))
	w := ask(t, f, "GET", "/api/services/api/logs", "", "Accept", "application/x-ndjson")
	if !strings.HasSuffix(w.Body.String(), `{"error":{"kind":"unavailable","message":"node local is silent"}}`+"\n") {
		t.Errorf("got %s", w.Body)
	}
	f.lines = twoLines(errors.New("secret"))
	if w := ask(t, f, "GET", "/api/services/api/logs", ""); !strings.HasSuffix(w.Body.String(), "break off: internal error\n") {
		t.Errorf("got %s", w.Body)
	}
	f.lines = func(context.Context, func(fleet.LogLine) error) error {
		return fleet.Errorf(fleet.Unavailable, "node local is silent")
	}
	if w := ask(t, f, "GET", "/api/services/api/logs", ""); w.Code != 503 {
		t.Errorf("before the first line: got %d %s", w.Code, w.Body)
	}
}

// dial serves the API on a pipe, which holds nothing between its ends, and
// sends a GET; the answer is read from what it returns.
func dial(t *testing.T, f *fakeEngine, target string, headers ...string) net.Conn {
	t.Helper()
	here, there := net.Pipe()
	listener := &once{conn: there, closed: make(chan struct{})}
	server := &http.Server{Handler: newAPI(f)}
	go server.Serve(listener)
	t.Cleanup(func() { here.Close(); server.Close() })
	request := "GET " + target + " HTTP/1.1\r\nHost: spawner\r\nAuthorization: Bearer read\r\n" + strings.Join(append(headers, "", ""), "\r\n")
	if _, err := io.WriteString(here, request); err != nil {
		t.Fatal(err)
	}
	return here
}

// once is a listener of one connection.
type once struct {
	conn   net.Conn
	closed chan struct{}
}

func (o *once) Accept() (net.Conn, error) {
	if conn := o.conn; conn != nil {
		o.conn = nil
		return conn, nil
	}
	<-o.closed
	return nil, net.ErrClosed
}
func (o *once) Close() error   { close(o.closed); return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

func TestAReaderOfLogsThatStopsReadingIsLetGoAndHoldsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newEngine()
		sent, ended := 0, make(chan error, 1)
		f.lines = func(_ context.Context, line func(fleet.LogLine) error) error {
			for {
				if err := line(fleet.LogLine{Text: strings.Repeat("x", 1000)}); err != nil {
					ended <- err
					return err
				}
				sent++
			}
		}
		began := time.Now()
		conn := dial(t, f, "/api/services/api/logs?follow=true")
		answerBody(t, conn, "text/plain; charset=utf-8") // and read no further
		<-ended
		if took := time.Since(began); took > writeTimeout || sent > 16 {
			t.Errorf("let go after %s and %d lines", took, sent)
		}
	})
}

func TestEventsAreStreamedWithTheirIds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newEngine()
		f.follow <- fleet.Event{ID: 7, Timestamp: at, Type: fleet.EventWake, Service: "api", Message: "two\nlines"}
		conn := dial(t, f, "/api/events?service=api", "Accept: text/event-stream", "Last-Event-ID: 6")
		body := answerBody(t, conn, "text/event-stream")
		want := "retry: 1000\n\n" +
			"id: 7\n" + `data: {"id":7,"timestamp":"2024-01-15T10:23:45Z","type":"wake","service":"api","container":"","node_id":"","message":"two\nlines"}` + "\n\n"
		if diff := cmp.Diff(want, readText(t, body, len(want))); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(fleet.EventFilter{Service: "api", After: 6}, f.filters[0]); diff != "" {
			t.Error(diff)
		}
		began := time.Now()
		if got := readText(t, body, len(": keep-alive\n\n")); got != ": keep-alive\n\n" || time.Since(began) > keepAlive {
			t.Errorf("got %q after %s", got, time.Since(began))
		}
		close(f.follow) // the engine found the reader too slow
		if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v after the end", rest, err)
		}
	})
}

func answerBody(t *testing.T, conn net.Conn, media string) io.Reader {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != media {
		t.Fatalf("got %s %v", response.Status, response.Header)
	}
	return response.Body
}

func readText(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEventsAreSelectedByTheQuery(t *testing.T) {
	f := newEngine()
	ask(t, f, "GET", "/api/events?service=api&type=wake&since=2024-01-15T10:23:45Z&after=3&limit=5", "")
	want := fleet.EventFilter{Service: "api", Type: fleet.EventWake, Since: at, After: 3, Limit: 5}
	if diff := cmp.Diff([]fleet.EventFilter{want}, f.filters); diff != "" {
		t.Error(diff)
	}
}

func TestABrokenLastEventIDIsRefused(t *testing.T) {
	w := ask(t, newEngine(), "GET", "/api/events?follow", "", "Last-Event-ID", "x")
	if got := refusalOf(t, w); w.Code != 400 || got.Field != "Last-Event-ID" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
