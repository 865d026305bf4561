package fallback

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

func TestAThousandRequestsAreHeldAndAllAnswered(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "awake") })
	e := fleetOf(service("app", nil)).readyAt(origin)
	const clients = 1000
	ready, all := make(chan struct{}), make(chan struct{})
	var arrived atomic.Int32
	wake := e.wake
	e.wake = func(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
		if arrived.Add(1) == clients {
			close(all)
		}
		<-ready
		return wake(ctx, name, cause)
	}
	r := newRouter(t, e, nil)
	address := public(t, r)
	var answers sync.WaitGroup
	var good atomic.Int32
	for range clients {
		answers.Go(func() {
			req := onLeg(httptest.NewRequest(http.MethodGet, "http://"+address+"/", nil), "app", LegAsleep)
			req.RequestURI = ""
			response, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err == nil && response.StatusCode == 200 && string(body) == "awake" {
				good.Add(1)
			}
		})
	}
	<-all
	if held := r.Stats().Held; held != clients {
		t.Errorf("%d are held, want %d", held, clients)
	}
	if held := e.held("app"); held != clients {
		t.Errorf("%d holds, want %d", held, clients)
	}
	close(ready)
	answers.Wait()
	if good.Load() != clients {
		t.Errorf("%d good answers, want %d", good.Load(), clients)
	}
}

func TestEachFailureIsAnsweredHonestly(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		status     int
		retryAfter string
		body       string
	}{
		{"removed", fleet.Errorf(fleet.NotFound, "service app was removed"), 404, "", "service app was removed\n"},
		{"exits at once", fleet.Errorf(fleet.BadGateway, "app-0 exits with code 3"), 502, "", "app-0 exits with code 3\n"},
		{"engine down", fleet.Errorf(fleet.Unavailable, "node local does not answer"), 503, "1", "node local does not answer\n"},
		{"back-off", &fleet.Error{Kind: fleet.Unavailable, Message: "no", RetryAfter: 2500 * time.Millisecond}, 503, "3", "no\n"},
		{"not ready in time", fleet.Errorf(fleet.Timeout, "waited for GET /health"), 504, "1", "waited for GET /health\n"},
		{"wrapped", fmt.Errorf("cannot wake: %w", fleet.Errorf(fleet.BadGateway, "gone")), 502, "", "gone\n"},
		{"internal", errors.New("password hunter2"), 500, "", "internal error\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := answer(newRouter(t, fleetOf(service("app", nil)).failing(test.err), nil), get("http://app.test/"))
			if w.Code != test.status || w.Header().Get("Retry-After") != test.retryAfter || w.Body.String() != test.body {
				t.Errorf("got %d, Retry-After %q, %q", w.Code, w.Header().Get("Retry-After"), w.Body)
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the error may be kept by a cache")
			}
		})
	}
}

func TestErrorsAreWrittenAsTheClientReadsThem(t *testing.T) {
	r := newRouter(t, fleetOf(service("app", nil)).failing(fleet.Errorf(fleet.Unavailable, "<no>")), nil)
	req := get("http://app.test/")
	req.Header.Set("Accept", "application/json, text/html")
	w := answer(r, req)
	var got struct{ Error fleet.Error }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Error.Kind != fleet.Unavailable || got.Error.Message != "<no>" {
		t.Errorf("got %s, %v", w.Body, err)
	}
	w = answer(r, browser(get("http://app.test/")))
	if !strings.Contains(w.Body.String(), "<p>&lt;no&gt;</p>") || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %s as %s", w.Body, w.Header().Get("Content-Type"))
	}
	req = get("http://app.test/")
	req.Header.Set("Content-Type", "application/grpc+proto")
	w = answer(r, req)
	if w.Code != 200 || w.Header().Get("Grpc-Status") != "14" || w.Header().Get("Grpc-Message") != "%3Cno%3E" || w.Header().Get("Content-Type") != "application/grpc+proto" || w.Body.Len() != 0 {
		t.Errorf("got %d %v %q", w.Code, w.Header(), w.Body)
	}
}

func TestAnEngineThatHangsIsAnsweredForWithinASecondOfMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(service("app", func(s *fleet.Spec) { s.Wake.MaxWait = fleet.Duration(5 * time.Second) })).never()
		began := time.Now()
		w := answer(newRouter(t, e, nil), get("http://app.test/"))
		if took := time.Since(began); w.Code != 504 || took > 6*time.Second || w.Header().Get("Retry-After") != "1" {
			t.Errorf("got %d after %s", w.Code, took)
		}
	})
}

func TestTheEnginesOwnReasonAtMaxWaitIsTheOneGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(service("app", nil))
		e.wake = func(ctx context.Context, _, _ string) (fleet.Endpoint, error) {
			<-ctx.Done()
			return fleet.Endpoint{}, fleet.Errorf(fleet.Timeout, "waited for the port")
		}
		w := answer(newRouter(t, e, nil), get("http://app.test/"))
		if w.Code != 504 || w.Body.String() != "waited for the port\n" {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	})
}

func TestAnAppThatNeverTakesTheRequestIsATimeout(t *testing.T) {
	e := fleetOf(service("app", func(s *fleet.Spec) { s.Wake.MaxWait = fleet.Duration(50 * time.Millisecond) })).readyAt(closedAddress(t))
	r := newRouter(t, e, nil)
	w := answer(r, get("http://app.test/"))
	if w.Code != 504 || !strings.Contains(w.Body.String(), "did not take the request") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
	if e.woken() < 2 || r.Stats().Redials == 0 {
		t.Errorf("%d wakes, %d dials again, want several", e.woken(), r.Stats().Redials)
	}
}

func TestAServiceWithoutAPortIsSaidToHaveNone(t *testing.T) {
	w := answer(newRouter(t, fleetOf(service("app", nil)).readyAt("127.0.0.1:0"), nil), get("http://app.test/"))
	if w.Code != 502 || !strings.Contains(w.Body.String(), "has no port") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestADialThatFailsIsRepeatedWithTheSameBody(t *testing.T) {
	for _, size := range []int{0, 5, mostEarly, mostEarly + 1, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, chunked %v", size, chunked), func(t *testing.T) {
				got := -1
				origin := app(t, func(w http.ResponseWriter, req *http.Request) {
					n, err := io.Copy(io.Discard, req.Body)
					if err != nil {
						t.Error(err)
					}
					got = int(n)
				})
				dead := fleetOf().readyAt(closedAddress(t))
				e := fleetOf(service("app", nil)).readyAt(origin)
				alive := e.wake
				e.wake = func(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
					if e.woken() <= 3 {
						return dead.wake(ctx, name, cause)
					}
					return alive(ctx, name, cause)
				}
				var body io.Reader = strings.NewReader(strings.Repeat("x", size))
				if chunked {
					body = io.MultiReader(body)
				}
				req, err := http.NewRequest(http.MethodPost, "http://"+public(t, newRouter(t, e, nil))+"/", body)
				if err != nil {
					t.Fatal(err)
				}
				response, err := http.DefaultTransport.RoundTrip(onLeg(req, "app", LegAsleep))
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				if response.StatusCode != 200 || got != size {
					t.Errorf("got %d, a body of %d bytes, want %d", response.StatusCode, got, size)
				}
			})
		}
	}
}

func TestAClientThatLeavesIsLetGo(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: app.test\r\n" + edgeHeaders + "\r\n",
		"POST / HTTP/1.1\r\nHost: app.test\r\n" + edgeHeaders + "Content-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: app.test\r\n" + edgeHeaders + "Content-Length: 5\r\n\r\nhel",
	} {
		e := fleetOf(service("app", nil))
		waiting, left := make(chan struct{}), make(chan struct{})
		e.wake = func(ctx context.Context, _, _ string) (fleet.Endpoint, error) {
			close(waiting)
			<-ctx.Done()
			close(left)
			return fleet.Endpoint{}, ctx.Err()
		}
		r := newRouter(t, e, nil)
		conn, err := net.Dial("tcp", public(t, r))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		<-waiting
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-left:
		case <-time.After(10 * time.Second):
			t.Fatalf("still held: %q", request)
		}
	}
}

func TestAClientThatSendsItsBodySlowlyGetsItsErrorAtOnce(t *testing.T) {
	r := newRouter(t, fleetOf(service("app", nil)).failing(fleet.Errorf(fleet.Unavailable, "no")), nil)
	conn, err := net.Dial("tcp", public(t, r))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: app.test\r\n"+edgeHeaders+"Content-Length: 5\r\n\r\nhel"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 503 || !response.Close {
		t.Errorf("got %v, %v", response, err)
	}
}

func TestBeyondTheCapRequestsAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fleetOf(service("app", nil)).never()
		r := newRouter(t, e, func(c *Config) { c.MaxHeld = 2 })
		ctx, leave := context.WithCancel(t.Context())
		var held sync.WaitGroup
		for range 2 {
			held.Go(func() {
				defer func() {
					if recover() == nil { //nolint:errorlint // http.ErrAbortHandler is what net/http looks for
						t.Error("a client that left was answered")
					}
				}()
				answer(r, get("http://app.test/").WithContext(ctx))
			})
		}
		synctest.Wait()
		if stats := r.Stats(); stats.Held != 2 {
			t.Errorf("%d held, want 2", stats.Held)
		}
		if w := answer(r, get("http://app.test/")); w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("got %d, want 503", w.Code)
		}
		leave()
		held.Wait()
		if stats := r.Stats(); stats.Held != 0 || stats.Outcomes[OutcomeLeft] != 2 {
			t.Errorf("got %+v, want nobody held and 2 left", stats)
		}
	})
}

func TestCloseReleasesThoseWhoWaitAndRefusesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerPage }
		r := newRouter(t, fleetOf(service("app", nil), service("page", spec)).never(), nil)
		held := make(chan *httptest.ResponseRecorder)
		go func() { held <- answer(r, get("http://app.test/")) }()
		go func() { held <- answer(r, browser(onLeg(get("http://page.test/"), "page", LegAsleep))) }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { defer close(closed); r.Close() }()
		for range 2 {
			if w := <-held; w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" {
				t.Errorf("got %d %v, want 503", w.Code, w.Header())
			}
		}
		<-closed
		if w := answer(r, get("http://app.test/")); w.Code != 503 {
			t.Errorf("after Close: got %d, want 503", w.Code)
		}
	})
}

func TestTheWakesCauseNamesTheRequestWithoutItsQuery(t *testing.T) {
	e := fleetOf(service("app", nil)).failing(fleet.Errorf(fleet.Unavailable, "no"))
	answer(newRouter(t, e, nil), get("http://app.test/path?token=hunter2"))
	if e.cause != "request GET app.test/path" {
		t.Errorf("got %q", e.cause)
	}
	answer(newRouter(t, e, nil), get("http://app.test/"+strings.Repeat("x", 1000)))
	if len(e.cause) > 220 {
		t.Errorf("got %d bytes", len(e.cause))
	}
}

func TestTheWakesCauseNamesThePathThatTheClientAskedFor(t *testing.T) {
	e := fleetOf(service("app", nil)).failing(fleet.Errorf(fleet.Unavailable, "no"))
	matcher := MatcherFunc(func(req *http.Request) (string, bool, bool) {
		return "app", true, strings.HasPrefix(req.URL.Path, "/shop/")
	})
	r := newRouter(t, e, func(c *Config) { c.Matcher = matcher })
	tests := []struct {
		name, header, value string
		want                string
	}{
		{"nothing was stripped", "", "", "request GET app.test/cart"},
		{"a prefix was stripped", "X-Forwarded-Prefix", "/shop", "request GET app.test/shop/cart"},
		{"the path was replaced", "X-Replaced-Path", "/shop/old", "request GET app.test/shop/old"},
		{"a client's claim holds a query", "X-Replaced-Path", "/shop/old?token=hunter2", "request GET app.test/shop/old"},
	}
	for _, test := range tests {
		req := get("http://app.test/cart")
		if test.header != "" {
			req.Header.Set(test.header, test.value)
		}
		answer(r, req)
		if e.cause != test.want {
			t.Errorf("%s: got %q, want %q", test.name, e.cause, test.want)
		}
	}
	claim := httptest.NewRequest(http.MethodGet, "http://app.test/shop/cart", nil)
	claim.Header.Set("X-Forwarded-Prefix", "/other")
	open := newRouter(t, e, func(c *Config) { c.Matcher = byHost(e) })
	if answer(open, claim); e.cause != "request GET app.test/shop/cart" {
		t.Errorf("a client that is no edge: got %q, want its path as it came", e.cause)
	}
}

func TestAnInstanceOfTheOlderAPIWhoseRouteNeverComesIsStoppedAgain(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "awake") })
	direct := func(s *fleet.Spec) { s.Direct, s.Wake.Answer = true, fleet.AnswerRedirect }
	e := fleetOf(service("app", direct)).readyAt(origin)
	e.published = func(context.Context, string) error { return errors.New("edge two refused it") }
	w := answer(newRouter(t, e, nil), get("http://app.test/"))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %q, want 503 with Retry-After", w.Code, w.Body)
	}
	if !slices.Equal(e.slept, []string{"app"}) {
		t.Errorf("put to sleep: %v, want the instance alone", e.slept)
	}
	home := newRouter(t, e, func(c *Config) { c.CookieFallbackURL = "http://home.test/home" })
	if w := answer(home, get("http://app.test/")); w.Code != 302 || w.Header().Get("Location") != "http://home.test/home" {
		t.Errorf("with a home page: got %d to %q", w.Code, w.Header().Get("Location"))
	}

	left, leave := context.WithCancel(t.Context())
	e = fleetOf(service("app", direct)).readyAt(origin)
	e.published = func(ctx context.Context, _ string) error { leave(); <-ctx.Done(); return ctx.Err() }
	func() {
		defer func() { _ = recover() }() // nobody is there to be answered
		answer(newRouter(t, e, nil), get("http://app.test/").WithContext(left))
	}()
	if len(e.slept) > 0 {
		t.Errorf("a client that left has stopped %v", e.slept)
	}
}

func TestARedirectWaitsForTheEdgesAndElseTheRequestIsProxied(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "awake") })
	redirect := func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerRedirect }
	e := fleetOf(service("app", redirect)).readyAt(origin)
	confirmed := false
	e.published = func(context.Context, string) error { confirmed = true; return nil }
	r := newRouter(t, e, nil)
	w := answer(r, get("http://app.test/a%2Fb//c?x=1;y=2"))
	if w.Code != 307 || w.Header().Get("Location") != "/a%2Fb//c?x=1;y=2" || !confirmed {
		t.Errorf("got %d to %q, confirmed %v", w.Code, w.Header().Get("Location"), confirmed)
	}
	e.published = func(context.Context, string) error { return errors.New("edge two refused it") }
	if w := answer(r, get("http://app.test/")); w.Code != 200 || w.Body.String() != "awake" {
		t.Errorf("not confirmed: got %d %q, want it proxied", w.Code, w.Body)
	}
	awake := service("app", redirect)
	awake.Endpoints = []fleet.Endpoint{{Replica: "app-0"}}
	e = fleetOf(awake).readyAt(origin)
	if w := answer(newRouter(t, e, nil), get("http://app.test/")); w.Code != 200 {
		t.Errorf("awake already: got %d, want it proxied, or a client goes round", w.Code)
	}
	upload := onLeg(httptest.NewRequest(http.MethodPost, "http://app.test/", io.MultiReader(strings.NewReader("x"))), "app", LegAsleep)
	if w := answer(newRouter(t, fleetOf(service("app", redirect)).readyAt(origin), nil), upload); w.Code != 200 {
		t.Errorf("an upload: got %d, want it proxied", w.Code)
	}
}

func TestInstancesOfTheOlderAPIRedirectBrowsersAndHoldOthers(t *testing.T) {
	origin := app(t, func(http.ResponseWriter, *http.Request) {})
	direct := func(s *fleet.Spec) { s.Direct = true }
	r := newRouter(t, fleetOf(service("app", direct)).readyAt(origin), func(c *Config) { c.RedirectToRoot = true })
	post := onLeg(httptest.NewRequest(http.MethodPost, "http://app.test/page", strings.NewReader("x")), "app", LegAsleep)
	xhr := browser(get("http://app.test/page"))
	xhr.Header.Set("Sec-Fetch-Mode", "cors")
	tests := []struct {
		name     string
		req      *http.Request
		status   int
		location string
	}{
		{"browser", browser(get("http://app.test/page")), 307, "/"},
		{"curl", get("http://app.test/page"), 200, ""},
		{"POST", browser(post), 200, ""},
		{"XHR", xhr, 200, ""},
	}
	for _, test := range tests {
		if w := answer(r, test.req); w.Code != test.status || w.Header().Get("Location") != test.location {
			t.Errorf("%s: got %d to %q, want %d to %q", test.name, w.Code, w.Header().Get("Location"), test.status, test.location)
		}
	}
	e := fleetOf(service("app", direct)).readyAt(origin)
	byPath := MatcherFunc(func(req *http.Request) (string, bool, bool) {
		return "app", false, strings.HasPrefix(req.URL.Path, "/app/")
	})
	r = newRouter(t, e, func(c *Config) { c.RedirectToRoot, c.Matcher = true, byPath })
	req := browser(get("http://app.test/status"))
	req.Header["X-Replaced-Path"] = []string{"//evil.example/", "/app/status"}
	if w := answer(r, req); w.Header().Get("Location") != "/app/status" {
		t.Errorf("/ does not lead to the instance: got %q", w.Header().Get("Location"))
	}
}

func TestABrowserSeesAWaitingPageWhereTheServiceWantsIt(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "awake") })
	page := func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerPage }
	e := fleetOf(service("app", page)).readyAt(origin)
	alive := e.wake
	release := make(chan error)
	e.wake = func(ctx context.Context, name, cause string) (fleet.Endpoint, error) {
		if err := <-release; err != nil {
			return fleet.Endpoint{}, err
		}
		return alive(ctx, name, cause)
	}
	r := newRouter(t, e, nil)
	for range 2 { // the page reloads
		w := answer(r, browser(get("http://app.test/")))
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `http-equiv="refresh"`) {
			t.Fatalf("got %d %v %s", w.Code, w.Header(), w.Body)
		}
	}
	if e.woken() != 1 || e.held("app") != 1 {
		t.Errorf("%d wakes, %d holds, want one that goes on", e.woken(), e.held("app"))
	}
	release <- fleet.Errorf(fleet.BadGateway, "app-0 exits with code 1")
	if w := answer(r, browser(get("http://app.test/"))); w.Code != 502 || e.woken() != 1 {
		t.Errorf("got %d after %d wakes, want the failure of the wake that was waited for", w.Code, e.woken())
	}
	close(release)
	if w := answer(r, get("http://app.test/")); w.Code != 200 {
		t.Errorf("not a browser: got %d, want it held and proxied", w.Code)
	}
}

func TestAWakeThatIsQuickShowsNoPage(t *testing.T) {
	origin := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "awake") })
	e := fleetOf(service("app", func(s *fleet.Spec) { s.Wake.Answer = fleet.AnswerPage })).readyAt(origin)
	if w := answer(newRouter(t, e, nil), browser(get("http://app.test/"))); w.Code != 200 || w.Body.String() != "awake" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}
