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

func TestALogQueryThatMeansNothingIsRefusedByName(t *testing.T) {
	for query, field := range map[string]string{"tail=many": "tail", "tail=-2": "tail", "tail=100001": "tail", "since=soon": "since", "follow=maybe": "follow", "lines=3": "lines"} {
		w := ask(t, newEngine(), "GET", "/api/services/api/logs?"+query, "")
		if got := refusalOf(t, w); w.Code != 400 || got.Field != field {
			t.Errorf("%s: got %d %s", query, w.Code, w.Body)
		}
	}
}

func TestFollowedLogsGiveASignOfLifeWhileNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newEngine()
		f.lines = func(ctx context.Context, line func(fleet.LogLine) error) error {
			time.Sleep(keepAlive + time.Second)
			_ = line(fleet.LogLine{Time: at, Replica: "api-0", Text: "late"})
			<-ctx.Done()
			return nil
		}
		conn := dial(t, f, "/api/services/api/logs?follow=true", "Accept: application/x-ndjson")
		body := answerBody(t, conn, "application/x-ndjson")
		want := "\n" + `{"time":"2024-01-15T10:23:45Z","replica":"api-0","stream":"","text":"late"}` + "\n"
		if diff := cmp.Diff(want, readText(t, body, len(want))); diff != "" {
			t.Error(diff)
		}
		conn.Close()
	})
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
		want := "retry: 1000\nid: 6\n\n" +
			"id: 7\n" + `data: {"id":7,"timestamp":"2024-01-15T10:23:45Z","type":"wake","service":"api","container":"","node_id":"","message":"two\nlines","by":""}` + "\n\n"
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
		f.follow <- fleet.Event{ID: 9, Timestamp: at, Type: fleet.EventGap, Message: "gone"}
		want = "id: 9\nevent: gap\n" + `data: {"id":9,"timestamp":"2024-01-15T10:23:45Z","type":"gap","service":"","container":"","node_id":"","message":"gone","by":""}` + "\n\n"
		if diff := cmp.Diff(want, readText(t, body, len(want))); diff != "" {
			t.Error(diff)
		}
		close(f.follow)
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
	ask(t, f, "GET", "/api/events?service=api&replica=api-1&node=n1&by=ci&type=wake,sleep&since=2024-01-15T10:23:45Z&until=2024-01-15T10:23:46Z&after=3&before=9&limit=5", "")
	ask(t, f, "GET", "/api/events?after=0", "")
	want := []fleet.EventFilter{{
		Service: "api", Container: "api-1", Node: "n1", By: "ci", Types: []fleet.EventType{fleet.EventWake, fleet.EventSleep},
		Since: at, Until: at.Add(time.Second), After: 3, Before: 9, Limit: 5,
	}, {After: -1}}
	if diff := cmp.Diff(want, f.filters); diff != "" {
		t.Error(diff)
	}
}

func TestAQueryForEventsThatMeansNothingIsRefusedByName(t *testing.T) {
	for query, field := range map[string]string{
		"type=wakes": "type", "type=wake,": "type", "type=gap": "type", "since=yesterday": "since", "until=soon": "until",
		"after=-1": "after", "before=0": "before", "limit=0": "limit", "limit=1000000": "limit", "follow=maybe": "follow", "kind=wake": "kind",
	} {
		f := newEngine()
		w := ask(t, f, "GET", "/api/events?"+query, "")
		if got := refusalOf(t, w); w.Code != 400 || got.Field != field || len(f.filters) != 0 {
			t.Errorf("%s: got %d %s", query, w.Code, w.Body)
		}
	}
}

func TestABrokenLastEventIDIsRefused(t *testing.T) {
	w := ask(t, newEngine(), "GET", "/api/events?follow", "", "Last-Event-ID", "x")
	if got := refusalOf(t, w); w.Code != 400 || got.Field != "Last-Event-ID" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
