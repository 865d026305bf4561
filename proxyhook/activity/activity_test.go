package activity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sample = `# HELP traefik_service_requests_total How many HTTP requests processed on a service, partitioned by status code, protocol, and method.
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="blog-r1-app@http"} 3
traefik_service_requests_total{code="404",method="GET",protocol="http",service="blog-r2-app@http"} 1
traefik_service_requests_total{code="200",method="GET",protocol="http",service="spawner~fallback@http"} 9
traefik_service_requests_total{code="200",method="GET",protocol="websocket",service="shop-wake@http"} 1.5e+02 1700000000000
traefik_service_requests_total{code="200",method="GET,} \"x",protocol="http",service="blog-r1-app@docker"} 7
traefik_service_requests_tls_total{service="blog-r2-app@http",tls_cipher="TLS_AES_128_GCM_SHA256",tls_version="1.3"} 2
traefik_service_request_duration_seconds_sum{service="blog-r2-app@http"} 2
traefik_open_connections{entrypoint="web",protocol="TCP"} 1
`

func TestAPageIsSummedByLeafAndCounter(t *testing.T) {
	got, err := readPage(strings.NewReader(sample))
	want := map[series]float64{
		{endedMetric, "blog-r1-app", "blog"}: 3, {endedMetric, "blog-r2-app", "blog"}: 1,
		{endedMetric, "shop-wake", "shop"}: 150, {startedMetric, "blog-r2-app", "blog"}: 2,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(series{})); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestABrokenPageIsAnError(t *testing.T) {
	for _, text := range []string{
		`traefik_service_requests_total{service="blog-r1-app@http"`,
		`traefik_service_requests_total{service=blog} 1`,
		`traefik_service_requests_total{service="blog-r1-app@http"}`,
		`traefik_service_requests_total{service="blog-r1-app@http"} many`,
	} {
		if got, err := readPage(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// counter is an edge whose page holds one count; negative = no series.
type counter struct {
	mu     sync.Mutex
	count  int
	broken bool
	looks  int
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	recorder := httptest.NewRecorder()
	switch {
	case c.broken:
		recorder.WriteHeader(http.StatusBadGateway)
	case c.count >= 0:
		fmt.Fprintf(recorder, "%s{code=\"200\",service=\"blog-r1-app@http\"} %d\n", endedMetric, c.count)
	}
	response := recorder.Result()
	response.Request = r
	return response, nil
}

func (c *counter) set(count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count = count
}

// begin makes a reader of one edge.
func begin(c *counter) *Reader {
	r := New(Config{Edges: func() []Page { return []Page{{Edge: "main", URL: "http://main/metrics"}} }})
	r.client.Transport = c
	return r
}

func TestACountThatChangesIsARequestSeenNow(t *testing.T) {
	steps := []struct {
		name  string
		count int
		seen  bool
	}{
		{"first look", 5, true},
		{"the same", 5, false},
		{"more", 6, true},
		{"gone with the configuration", -1, false},
		{"back with new requests", 2, true},
		{"the same again", 2, false},
		{"started anew, and asked once", 1, true},
		{"started anew, and not asked", -1, false},
		{"at zero", 0, false},
	}
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		r := begin(c)
		var last time.Time
		for _, step := range steps {
			time.Sleep(Period)
			c.set(step.count)
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			at, known := r.LastRequest("blog")
			if seen := at.After(last); seen != step.seen || !known {
				t.Errorf("%s: seen %t, known %t, want seen %t", step.name, seen, known, step.seen)
			}
			last = at
		}
	})
}

func TestASeriesThatGoesIsNoRequest(t *testing.T) {
	counts := func(text string) map[series]float64 {
		got, err := readPage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	r := New(Config{})
	asleep := endedMetric + `{service="blog-wake@http"} 3` + "\n"
	awake := asleep + endedMetric + `{service="blog-r1-app@http"} 100` + "\n"
	r.pages["main"] = &page{counts: counts(awake)}
	r.noteLocked(r.pages["main"], counts(asleep), time.Now())
	if at := r.last["blog"]; !at.IsZero() {
		t.Error("the app's series went, and that was taken for a request")
	}
	r.noteLocked(r.pages["main"], counts(strings.Replace(awake, "100", "1", 1)), time.Now())
	if at := r.last["blog"]; at.IsZero() {
		t.Error("a request after the series came back was not seen")
	}
}

func TestNobodyKnowsWhileAnEdgeCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{count: 1}
		r := begin(c)
		if _, known := r.LastRequest("blog"); known || r.Problem() == "" {
			t.Error("known before the first look")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		if at, known := r.LastRequest("blog"); !known || !at.Equal(time.Now()) || r.Problem() != "" {
			t.Errorf("at %s, known %t, problem %q", at, known, r.Problem())
		}
		c.mu.Lock()
		c.broken = true
		c.mu.Unlock()
		time.Sleep(Period + time.Second)
		if _, known := r.LastRequest("blog"); known || !strings.Contains(r.Problem(), "502") {
			t.Errorf("known while the edge does not answer; problem %q", r.Problem())
		}
		c.mu.Lock()
		c.broken = false
		looks := c.looks
		c.mu.Unlock()
		time.Sleep(10 * Period)
		if _, known := r.LastRequest("blog"); !known {
			t.Error("unknown while the edge answers again")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if got := c.looks - looks; got != 10 {
			t.Errorf("%d looks in ten periods", got)
		}
	})
}

func TestAnEdgeWithoutAPageLeavesEverythingUnknown(t *testing.T) {
	edges := []Page{{Edge: "main"}}
	r := New(Config{Edges: func() []Page { return edges }})
	if err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "main") {
		t.Errorf("got %v", err)
	}
	if _, known := r.LastRequest("blog"); known {
		t.Error("known")
	}
	edges = nil
	if _, known := r.LastRequest("blog"); !known || r.Problem() != "" {
		t.Error("without edges nothing comes through one")
	}
}
