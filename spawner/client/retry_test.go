package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

var (
	refusedDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	brokenRead  = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
)

// script answers call after call: an error, or a body of status 200.
type script struct {
	answers []any
	calls   []*http.Request
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls = append(s.calls, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	response := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r}
	switch a := answer.(type) {
	case error:
		return nil, a
	case int:
		response.StatusCode, response.Status = a, http.StatusText(a)
		if a == http.StatusServiceUnavailable {
			response.Header.Set("Retry-After", "3600")
		}
		kind := fleet.KindOfHTTPStatus(a)
		response.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"error":{"kind":%q,"message":"not now"}}`, kind)))
	case string:
		response.Body = io.NopCloser(strings.NewReader(a))
	}
	return response, nil
}

// scripted is a client whose calls are answered by the script; the last answer is given again and again.
func scripted(t *testing.T, answers ...any) (*Client, *script) {
	t.Helper()
	c, err := New(Config{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{answers: answers}
	c.reads.HTTPClient.Transport, c.writes.HTTPClient.Transport = s, s
	return c, s
}

func TestWhatOnlyAsksIsAskedAgain(t *testing.T) {
	for _, broken := range []any{refusedDial, brokenRead, io.EOF, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c, s := scripted(t, broken, `[]`)
			if _, err := c.Services(t.Context()); err != nil || len(s.calls) != 2 {
				t.Errorf("%v: got %v after %d calls", broken, err, len(s.calls))
			}
			if took := time.Since(began); took > retryWaitMax {
				t.Errorf("%v: asked again after %s", broken, took)
			}
		})
	}
}

func TestADeployIsSentAgainOnlyWhenItWasSurelyNotSent(t *testing.T) {
	for _, c := range []struct {
		broken any
		calls  int
	}{{refusedDial, 2}, {brokenRead, 1}, {io.EOF, 1}, {502, 1}, {503, 1}} {
		synctest.Test(t, func(t *testing.T) {
			client, s := scripted(t, c.broken, `{"job_id":"j1"}`)
			_, err := client.DeployBody(t.Context(), []byte(`{}`), DeployOptions{})
			if len(s.calls) != c.calls || (err == nil) != (c.calls == 2) {
				t.Errorf("%v: got %v after %d calls", c.broken, err, len(s.calls))
			}
			for _, call := range s.calls {
				if body, _ := io.ReadAll(call.Body); c.calls == 2 && call == s.calls[1] && string(body) != `{}` {
					t.Errorf("sent %q the second time", body)
				}
			}
		})
	}
}

func TestASpawnerThatIsNotThereIsGivenUpWithinASecondOrTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, refusedDial)
		began := time.Now()
		_, err := c.Services(t.Context())
		if err == nil || !strings.Contains(err.Error(), "cannot reach the spawner at http://127.0.0.1:8008") || time.Since(began) > 2*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestAWatchedJobIsShownUntilItsEndOverAReplacedSpawner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, `{"id":"j1","state":"queued"}`, `{"id":"j1","state":"running"}`,
			refusedDial, refusedDial, refusedDial, refusedDial, refusedDial, refusedDial, refusedDial, 503,
			`{"id":"j1","state":"running"}`, `{"id":"j1","state":"succeeded"}`)
		var shown []fleet.JobState
		job, err := c.WatchJob(t.Context(), "j1", func(j fleet.Job) { shown = append(shown, j.State) })
		if err != nil || job.State != fleet.JobSucceeded {
			t.Errorf("got %+v, %v", job, err)
		}
		if diff := cmp.Diff([]fleet.JobState{"queued", "running", "running", "succeeded"}, shown); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAWatchedJobIsGivenUpWhenTheSpawnerStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, `{"id":"j1","state":"running"}`, refusedDial)
		began := time.Now()
		job, err := c.WaitJob(t.Context(), "j1")
		if took := time.Since(began); err == nil || job.State != fleet.JobRunning || took < waitAway || took > waitAway+5*time.Second {
			t.Errorf("got %+v, %v after %s", job, err, time.Since(began))
		}
	})
}

func TestFollowedEventsGoOnAfterTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			"retry: 1000\n\nid: 4\ndata: {\"id\":4,\"message\":\"four\"}\n\n: keep-alive\n\nid: 5\ndata: {\"id\":5}\n\n",
			brokenRead, 503,
			"id: 6\ndata: {\"id\":6}\n\n")
		enough := errors.New("enough")
		var seen []int64
		err := c.FollowEvents(t.Context(), fleet.EventFilter{Service: "api", After: 3}, func(e fleet.Event) error {
			seen = append(seen, e.ID)
			if e.ID == 6 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]int64{4, 5, 6}, seen); diff != "" {
			t.Error(diff)
		}
		first, last := s.calls[0].Header, s.calls[len(s.calls)-1].Header
		if first.Get("Last-Event-ID") != "3" || last.Get("Last-Event-ID") != "5" || last.Get("Accept") != "text/event-stream" {
			t.Errorf("asked after %q, then after %q", first.Get("Last-Event-ID"), last.Get("Last-Event-ID"))
		}
	})
}

func TestFollowedEventsMissNothingWhenTheConnectionBreaksBeforeTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, "retry: 1000\nid: 41\n\n", "id: 42\ndata: {\"id\":42}\n\n")
		enough := errors.New("enough")
		err := c.FollowEvents(t.Context(), fleet.EventFilter{}, func(fleet.Event) error { return enough })
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		if got := s.calls[0].Header.Get("Last-Event-ID") + " " + s.calls[1].Header.Get("Last-Event-ID"); got != " 41" {
			t.Errorf("asked after %q", got)
		}
	})
}

func TestWhatIsFollowedAtASpawnerThatIsNotThereIsGivenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, refusedDial)
		began := time.Now()
		for what, follow := range map[string]func() error{
			"events": func() error { return c.FollowEvents(t.Context(), fleet.EventFilter{}, nil) },
			"logs":   func() error { return c.Logs(t.Context(), "api", fleet.LogOptions{Follow: true}, nil) },
		} {
			if err := follow(); err == nil || !strings.Contains(err.Error(), "cannot reach the spawner") {
				t.Errorf("%s: got %v", what, err)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestHalfAnEventIsToldOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, "id: 5\ndata: {\"id\":5}\n", "id: 5\ndata: {\"id\":5}\n\nid: 6\ndata: {\"id\":6}\n\n")
		enough := errors.New("enough")
		var seen []int64
		err := c.FollowEvents(t.Context(), fleet.EventFilter{After: 4}, func(e fleet.Event) error {
			if seen = append(seen, e.ID); e.ID == 6 {
				return enough
			}
			return nil
		})
		if diff := cmp.Diff([]int64{5, 6}, seen); diff != "" || !errors.Is(err, enough) {
			t.Errorf("%v %s", err, diff)
		}
		if got := s.calls[1].Header.Get("Last-Event-ID"); got != "4" {
			t.Errorf("asked after %q", got)
		}
	})
}

func TestFollowedEventsEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, _ := scripted(t, "") // a stream that always ends at once
		if err := c.FollowEvents(ctx, fleet.EventFilter{}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowedLogsGoOnWithoutALineLostOrTwice(t *testing.T) {
	line := func(second int, replica, text string) string {
		return fmt.Sprintf(`{"time":"2024-01-15T10:23:%02dZ","replica":"%s","text":"%s"}`+"\n", second, replica, text)
	}
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t,
			line(40, "api-1", "a")+line(45, "api-0", "b")+"\n"+line(46, "api-0", "c")+`{"time":"2024`,
			brokenRead, 503,
			line(40, "api-1", "a")+line(45, "api-0", "b")+line(46, "api-0", "c")+line(43, "api-1", "d")+line(47, "api-0", "e"),
			404)
		var told []string
		err := c.Logs(t.Context(), "api", fleet.LogOptions{Tail: 2, Follow: true}, func(l fleet.LogLine) error {
			told = append(told, l.Text)
			return nil
		})
		if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, told); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		first, again := s.calls[0].URL.Query(), s.calls[3].URL.Query()
		if first.Get("tail") != "2" || again.Get("tail") != "-1" || again.Get("since") != "2024-01-15T10:23:40Z" {
			t.Errorf("asked for %v, then for %v", first, again)
		}
	})
}

func TestFollowedLogsOfNoServiceAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, 404)
		if err := c.Logs(t.Context(), "api", fleet.LogOptions{Tail: -1, Follow: true}, nil); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestLogsThatBreakOffReturnTheSpawnersError(t *testing.T) {
	c, s := scripted(t, `{"replica":"api-0","text":"hello"}`+"\n"+`{"error":{"kind":"unavailable","message":"node local is silent"}}`+"\n")
	var lines []string
	err := c.Logs(t.Context(), "api", fleet.LogOptions{Tail: -1}, func(l fleet.LogLine) error {
		lines = append(lines, l.Replica+" "+l.Text)
		return nil
	})
	if fleet.KindOf(err) != fleet.Unavailable || s.calls[0].Header.Get("Accept") != "application/x-ndjson" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"api-0 hello"}, lines); diff != "" {
		t.Error(diff)
	}
}
