package fallback

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

func TestTheConfigProbeIsAnsweredOnlyWithTheSecret(t *testing.T) {
	r := newRouter(t, fleetOf(), nil)
	req := httptest.NewRequest(http.MethodGet, "http://probe.test/", nil)
	req.Header.Set(HeaderEdge, secret)
	req.Header.Set(HeaderConfig, "abc123")
	if w := answer(r, req); w.Code != 204 || w.Header().Get(HeaderConfig) != "abc123" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	for _, values := range [][]string{nil, {""}, {"wrong"}, {secret, "wrong"}, {secret, secret}} {
		req.Header[HeaderEdge] = values
		if w := answer(r, req); w.Code != 404 || w.Header().Get(HeaderConfig) != "" {
			t.Errorf("secret %q: got %d %v", values, w.Code, w.Header())
		}
	}
	open := newRouter(t, fleetOf(), func(c *Config) { c.EdgeSecret = "" })
	req.Header[HeaderEdge] = []string{""}
	if w := answer(open, req); w.Code != 404 {
		t.Errorf("no secret is set: got %d, want that nobody is trusted", w.Code)
	}
}

func TestTheServiceIsToldByTheHeaderOnlyWithTheSecret(t *testing.T) {
	e := fleetOf(service("app", nil), service("other", nil)).failing(fleet.Errorf(fleet.Unavailable, "app's turn"))
	r := newRouter(t, e, nil)
	named := ""
	e.wake = func(_ context.Context, name, _ string) (fleet.Endpoint, error) {
		named = name
		return fleet.Endpoint{}, fleet.Errorf(fleet.Unavailable, "no")
	}
	answer(r, onLeg(httptest.NewRequest(http.MethodGet, "http://other.test/", nil), "app", LegAsleep))
	if named != "app" {
		t.Errorf("with the secret: got %q, want app", named)
	}
	req := onLeg(httptest.NewRequest(http.MethodGet, "http://other.test/", nil), "app", LegAsleep)
	req.Header.Set(HeaderEdge, "wrong")
	answer(r, req)
	if named != "other" {
		t.Errorf("without: got %q, want other, by its rule", named)
	}
	if w := answer(r, onLeg(httptest.NewRequest(http.MethodGet, "http://other.test/", nil), "gone", LegAsleep)); w.Code != 404 {
		t.Errorf("a service that is gone: got %d, want 404", w.Code)
	}
	if w := answer(r, httptest.NewRequest(http.MethodGet, "http://nobody.test/", nil)); w.Code != 404 {
		t.Errorf("an unknown host: got %d, want 404", w.Code)
	}
}

// A client can have the edge drop headers, by naming them in Connection, and can
// send others in spellings that some servers read as the same.
func TestNothingThatAClientOfTheEdgeSendsMisleadsTheRouter(t *testing.T) {
	origin := app(t, echo)
	own := map[string]string{HeaderEdge: secret, HeaderService: "app", HeaderLeg: string(LegFailover)}
	tests := []struct {
		name    string
		dropped []string
		sent    map[string]string
		status  int
	}{
		{"nothing", nil, nil, 503},
		{"other spellings", nil, map[string]string{"X_spawner_leg": "asleep", "X_spawner_service": "other", "X_spawner_edge": secret}, 503},
		{"the leg dropped", []string{HeaderLeg}, nil, 503},
		{"the service dropped", []string{HeaderService}, nil, 503},
		{"the leg and the service dropped", []string{HeaderLeg, HeaderService}, nil, 503},
		{"both dropped, and sent in other spellings", []string{HeaderLeg, HeaderService}, map[string]string{"X_spawner_config": "x", "X_spawner_leg": "catch-all"}, 503},
		{"the secret dropped: a direct caller, by its rule", []string{HeaderEdge}, map[string]string{"X_spawner_edge": secret}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := fleetOf(service("app", nil), service("other", nil)).readyAt(origin)
			events := make(chan fleet.Event, 1)
			r := newRouter(t, e, func(c *Config) { c.Events = func(event fleet.Event) { events <- event } })
			req := httptest.NewRequest(http.MethodPost, "http://app.test/", strings.NewReader("x"))
			for name, value := range own {
				if !slices.Contains(test.dropped, name) {
					req.Header.Set(name, value)
				}
			}
			for name, value := range test.sent {
				req.Header[name] = []string{value}
			}
			w := answer(r, req)
			r.Close() // whoever looked for a missing route has ended
			if w.Code != test.status {
				t.Errorf("a POST that the app may have run: got %d, want %d", w.Code, test.status)
			}
			if len(events) > 0 {
				t.Errorf("a client made the router say %q", (<-events).Message)
			}
			if body := strings.ToLower(strings.ReplaceAll(w.Body.String(), "_", "-")); strings.Contains(body, "x-spawner-") {
				t.Errorf("the app was told: %s", w.Body)
			}
		})
	}
}

func TestWhatTheMiddlewaresHaveNotSeenIsNeverProxied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(service("app", nil)).never()
		r := newRouter(t, e, func(c *Config) { c.Matcher = byHost(e, "app") })
		ask := func() *httptest.ResponseRecorder {
			req := httptest.NewRequest(http.MethodPost, "http://app.test//a?b", strings.NewReader("x"))
			req.Header.Set("X-Replaced-Path", "/elsewhere")
			return answer(r, req)
		}
		if w := ask(); w.Code != 307 || w.Header().Get("Location") != "/a?b" {
			t.Errorf("got %d to %q, want 307 to its own path", w.Code, w.Header().Get("Location"))
		}
		e.published = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		if w := ask(); w.Code != 503 || w.Header().Get("Retry-After") != "1" || time.Since(began) > confirmPatience {
			t.Errorf("not confirmed: got %d after %s, want 503", w.Code, time.Since(began))
		}
		call := httptest.NewRequest(http.MethodPost, "http://app.test/pkg.Service/Call", nil)
		call.Header.Set("Content-Type", "application/grpc")
		if w := answer(r, call); w.Header().Get("Grpc-Status") != "14" {
			t.Errorf("gRPC: got %d %v, want unavailable", w.Code, w.Header())
		}
		if e.woken() != 0 {
			t.Error("a client that passed no middleware woke the service")
		}
	})
}

func TestNoRequestThatMayHaveRunRunsTwice(t *testing.T) {
	origin := app(t, func(http.ResponseWriter, *http.Request) {})
	now := time.Now()
	tests := []struct {
		name   string
		method string
		key    bool
		leg    Leg
		since  time.Time
		status int
	}{
		{"GET", http.MethodGet, false, LegFailover, time.Time{}, 200},
		{"PUT", http.MethodPut, false, LegFailover, time.Time{}, 200},
		{"DELETE", http.MethodDelete, false, LegFailover, time.Time{}, 200},
		{"POST while the app runs", http.MethodPost, false, LegFailover, time.Time{}, 503},
		{"POST just after its death", http.MethodPost, false, LegFailover, now.Add(-time.Second), 503},
		{"POST long after its death", http.MethodPost, false, LegFailover, now.Add(-3 * time.Second), 200},
		{"POST with a key", http.MethodPost, true, LegFailover, time.Time{}, 200},
		{"PATCH", http.MethodPatch, false, LegFailover, time.Time{}, 503},
		{"POST to a sleeper", http.MethodPost, false, LegAsleep, time.Time{}, 200},
		{"POST by the catch-all", http.MethodPost, false, LegCatchAll, time.Time{}, 200},
		{"POST whose leg was dropped", http.MethodPost, false, "", time.Time{}, 503},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := service("app", nil)
			s.DownSince = test.since
			req := onLeg(httptest.NewRequest(test.method, "http://app.test/", nil), "app", test.leg)
			if test.key {
				req.Header.Set("Idempotency-Key", "1")
			}
			w := answer(newRouter(t, fleetOf(s).readyAt(origin), nil), req)
			if w.Code != test.status || (w.Code == 503) != (w.Header().Get("Retry-After") == "1") {
				t.Errorf("got %d %v, want %d", w.Code, w.Header(), test.status)
			}
		})
	}
}

// An edge that kept the connection could send the next request on it just as the spawner ends.
func TestAConnectionIsClosedOnceItsRequestIsAnswered(t *testing.T) {
	r := newRouter(t, fleetOf(fleet.Routed{Name: "app"}), nil)
	connection, err := net.Dial("tcp", serveWith(t, NewServer("", r, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	// It is refused before its body is read.
	req := onLeg(httptest.NewRequest(http.MethodPost, "http://app.test/", strings.NewReader("body")), "app", LegFailover)
	if err := req.Write(connection); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(connection)
	res, err := http.ReadResponse(answers, req)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusServiceUnavailable || !res.Close {
		t.Errorf("got %s, to be closed %v, want 503 and true", res.Status, res.Close)
	}
	if _, err := answers.ReadByte(); err != io.EOF {
		t.Errorf("the connection's next byte: %v, want its end", err)
	}
}

func TestARequestThatTheAppBreaksOffIsRepeatedOnceWhereThatIsAllowed(t *testing.T) {
	tests := []struct {
		name           string
		method, body   string
		breaks         int
		status, served int
	}{
		{"GET", http.MethodGet, "", 1, 200, 2},
		{"PUT with a small body", http.MethodPut, "hello", 1, 200, 2},
		{"GET again and again", http.MethodGet, "", 5, 502, 2},
		{"POST", http.MethodPost, "hello", 1, 503, 1},
		{"PUT with a large body", http.MethodPut, strings.Repeat("x", mostEarly+1), 1, 503, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var served atomic.Int32
			origin := app(t, func(http.ResponseWriter, *http.Request) {
				if int(served.Add(1)) <= test.breaks {
					panic(http.ErrAbortHandler)
				}
			})
			address := public(t, newRouter(t, fleetOf(service("app", nil)).readyAt(origin), nil))
			req, err := http.NewRequest(test.method, "http://"+address+"/", strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultTransport.RoundTrip(onLeg(req, "app", LegAsleep))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != test.status || int(served.Load()) != test.served {
				t.Errorf("got %d after %d executions, want %d after %d", response.StatusCode, served.Load(), test.status, test.served)
			}
		})
	}
}

func TestARouteThatTheEdgesShouldHaveTakenIsToldOfOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(service("app", nil)).failing(fleet.Errorf(fleet.Unavailable, "no"))
		var events []fleet.Event
		r := newRouter(t, e, func(c *Config) { c.Events = func(event fleet.Event) { events = append(events, event) } })
		ask := func(leg Leg) int {
			req := onLeg(httptest.NewRequest(http.MethodGet, "http://app.test/", nil), "", leg)
			req.Header.Del(HeaderService)
			answer(r, req)
			synctest.Wait()
			return len(events)
		}
		e.published = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		ask(LegCatchAll)
		<-time.After(time.Second)
		if len(events) != 0 {
			t.Error("told of a route that is not confirmed")
		}
		e.published = func(context.Context, string) error { return nil }
		first, second := ask(LegCatchAll), ask(LegCatchAll)
		if first != 1 || second != 1 || events[0].Type != fleet.EventRouteMissing || events[0].Service != "app" {
			t.Errorf("got %v, want one event", events)
		}
		<-time.After(missingEvery)
		if ask(LegCatchAll) != 2 {
			t.Errorf("got %v, want another event after a minute", events)
		}
		answer(r, httptest.NewRequest(http.MethodGet, "http://app.test/", nil))
		<-time.After(missingEvery)
		if synctest.Wait(); len(events) != 2 {
			t.Errorf("a direct caller is no missing route: %v", events)
		}
	})
}

func TestAClientWithoutAServiceGoesToTheHomePage(t *testing.T) {
	tests := []struct {
		home, target string
		want         string
	}{
		{"http://localhost/home", "http://localhost/", "http://localhost/home"},
		{"http://localhost/home", "http://localhost/homework", "http://localhost/home"},
		{"http://localhost/home", "http://localhost/home", ""},
		{"http://localhost/home", "http://localhost/home/x", ""},
		{"http://localhost/home", "http://127.0.0.1/home/x", ""},
		{"http://localhost/home/", "http://localhost/home", ""},
		{"/home", "http://localhost/x", "/home"},
		{"https://home.example", "http://localhost/x", "https://home.example"},
		{"https://home.example/", "http://Home.example:443/x", ""},
		{"", "http://localhost/", ""},
	}
	for _, test := range tests {
		r := newRouter(t, fleetOf(), func(c *Config) { c.CookieFallbackURL = test.home })
		w := answer(r, httptest.NewRequest(http.MethodGet, test.target, nil))
		status := 404
		if test.want != "" {
			status = 302
		}
		if w.Code != status || w.Header().Get("Location") != test.want {
			t.Errorf("home %q, asked %q: got %d to %q, want %d to %q", test.home, test.target, w.Code, w.Header().Get("Location"), status, test.want)
		}
	}
	for _, home := range []string{"home", "ftp://x/", "http://", "://", "//evil.example/"} {
		if _, err := New(Config{CookieFallbackURL: home}); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("home %q: got %v, want it refused", home, err)
		}
	}
}

func TestCONNECTIsRefused(t *testing.T) {
	req := httptest.NewRequest(http.MethodConnect, "http://app.test:80", nil)
	if w := answer(newRouter(t, fleetOf(service("app", nil)), nil), onLeg(req, "app", LegAsleep)); w.Code != 400 {
		t.Errorf("got %d, want 400", w.Code)
	}
}

func TestTheOriginalPathIsTheNewestThatLeadsToTheService(t *testing.T) {
	e := fleetOf(service("app", func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerRedirect })).readyAt("127.0.0.1:1")
	matcher := MatcherFunc(func(req *http.Request) (string, bool, bool) {
		return "app", false, strings.HasPrefix(req.URL.Path, "/app/")
	})
	r := newRouter(t, e, func(c *Config) { c.Matcher = matcher })
	tests := []struct {
		name             string
		replaced, prefix []string
		want             string
	}{
		{"as it is", nil, nil, "/status?q=1"},
		{"replaced", []string{"/app/status"}, nil, "/app/status?q=1"},
		{"replaced, and the client claims another", []string{"/elsewhere", "/app/status"}, nil, "/app/status?q=1"},
		{"replaced twice", []string{"/app/status", "/between"}, nil, "/app/status?q=1"},
		{"stripped", nil, []string{"/app"}, "/app/status?q=1"},
		{"stripped twice", nil, []string{"/app", "/v1"}, "/app/v1/status?q=1"},
		{"stripped, then replaced", []string{"/old"}, []string{"/app"}, "/app/old?q=1"},
		{"nothing leads there", []string{"//evil.example/x"}, nil, "/evil.example/x?q=1"},
	}
	for _, test := range tests {
		req := get("http://app.test/status?q=1")
		req.Header["X-Replaced-Path"], req.Header["X-Forwarded-Prefix"] = test.replaced, test.prefix
		if w := answer(r, req); w.Code != 307 || w.Header().Get("Location") != test.want {
			t.Errorf("%s: got %d to %q, want %q", test.name, w.Code, w.Header().Get("Location"), test.want)
		}
	}
}

func FuzzALocationIsAPathOfThisHost(f *testing.F) {
	for _, path := range []string{
		"/", "", "//evil.example", "/\\evil.example", "\t//evil.example", "/\t/evil.example", "http://evil.example", "/a%2fb", "/%zz",
		"/%5cevil", "///", "/a b", "/\r\nSet-Cookie: x", "/é", "/a#b", "/a?b", "javascript:alert(1)", "/..//evil.example", "\\\\evil",
	} {
		f.Add(path, "a=1;b=%zz#x\r\n ?\x00")
		f.Add(path, "")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		got := location(path, query)
		if got[0] != '/' || len(got) > 1 && (got[1] == '/' || got[1] == '\\') {
			t.Errorf("location(%q, %q) = %q", path, query, got)
		}
		for _, c := range []byte(got) {
			if c <= ' ' || c >= 0x7f || c == '#' {
				t.Errorf("location(%q, %q) = %q holds %q", path, query, got, c)
			}
		}
		base := &url.URL{Scheme: "https", Host: "site.example", Path: "/x/y"}
		resolved, err := base.Parse(got)
		if err != nil || resolved.Host != base.Host || resolved.Scheme != base.Scheme {
			t.Errorf("location(%q, %q) = %q leads to %v, %v", path, query, got, resolved, err)
		}
		if again, q, _ := strings.Cut(got, "?"); location(again, q) != got && query != "" {
			t.Errorf("location(%q) = %q", got, location(again, q))
		}
	})
}

func TestErrorsOfPublishedAreNotShown(t *testing.T) {
	e := fleetOf(service("app", nil)).never()
	e.published = func(context.Context, string) error { return errors.New("edge at 10.0.0.1 refused it") }
	r := newRouter(t, e, func(c *Config) { c.Matcher = byHost(e, "app") })
	if w := answer(r, httptest.NewRequest(http.MethodGet, "http://app.test/", nil)); w.Code != 503 || strings.Contains(w.Body.String(), "10.0.0.1") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
