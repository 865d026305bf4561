package daemon

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEdgesAreRememberedAcrossRestarts(t *testing.T) {
	store := &fakeSettings{}
	loaded := func() []string {
		t.Helper()
		names, err := (&knownEdges{settings: store}).load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if names := loaded(); len(names) != 0 {
		t.Errorf("at first %v are known", names)
	}
	known := &knownEdges{settings: store, log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"a", "b", "a", "c"} {
		known.add(name)
	}
	known.remove("b")
	known.remove("nobody")
	if diff := cmp.Diff([]string{"a", "c"}, loaded()); diff != "" {
		t.Error(diff)
	}
	store.values[knownEdgesKey] = "{"
	if _, err := (&knownEdges{settings: store}).load(t.Context()); err == nil {
		t.Error("what cannot be read was taken for nothing")
	}
}

func TestAMetricsPageHasItsUsualPathUnlessItSaysOtherwise(t *testing.T) {
	for address, want := range map[string]string{
		"http://edge:8082":           "http://edge:8082/metrics",
		"http://edge:8082/":          "http://edge:8082/metrics",
		"http://edge:8082/own/page":  "http://edge:8082/own/page",
		"http://[::1]:8082?format=x": "http://[::1]:8082/metrics?format=x",
	} {
		if got := metricsPage(address); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
