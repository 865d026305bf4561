package daemon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestURLsAreThoseThatAClientTypes(t *testing.T) {
	usual, moved := DefaultConfig(), DefaultConfig()
	moved.HTTPPort, moved.HTTPSPort = 8080, 8443
	for _, c := range []struct {
		config Config
		route  *fleet.Route
		want   []string
	}{
		{usual, nil, nil},
		{usual, &fleet.Route{PathPrefix: "/x"}, []string{}},
		{usual, &fleet.Route{Hosts: []string{"a.example", "b.example"}}, []string{"http://a.example/", "http://b.example/"}},
		{usual, &fleet.Route{Hosts: []string{"a.example"}, PathPrefix: "/x", TLS: true}, []string{"https://a.example/x"}},
		{moved, &fleet.Route{Hosts: []string{"a.example"}}, []string{"http://a.example:8080/"}},
		{moved, &fleet.Route{Hosts: []string{"a.example"}, TLS: true}, []string{"https://a.example:8443/"}},
	} {
		if diff := cmp.Diff(c.want, (&spawner{config: c.config}).urls(c.route)); diff != "" {
			t.Errorf("%+v: %s", c.route, diff)
		}
	}
}

func TestANodeIsListedWithWhenItsEngineLastAnswered(t *testing.T) {
	r := start(t)
	r.awaitReady(t)
	began := time.Now().UTC().Add(-time.Millisecond)
	if err := r.pool.Ping(t.Context(), DefaultNodeName); err != nil {
		t.Fatal(err)
	}
	nodes, err := r.spawner.questions().Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].SeenAt.Before(began) {
		t.Errorf("got %+v, %v, asked at %s", nodes, err, began)
	}
}
