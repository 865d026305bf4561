package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestWhatIfIsAskedAndAnsweredWithoutNulls(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/whatif", `{"kill":["n2"],"scale":{"api":10}}`)
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "null") || !slices.Contains(f.asked, "whatif [n2] map[api:10]") {
		t.Errorf("got %d %s, asked %v", w.Code, w.Body, f.asked)
	}
}

func TestAWhatIfThatMakesNoSenseIsRefusedByItsField(t *testing.T) {
	for body, field := range map[string]string{
		`{}`:                       "kill",
		`{"kill":["n1","n1"]}`:     "kill[1]",
		`{"scale":{"api":-1}}`:     "scale.api",
		`{"scale":{"api":100000}}`: "scale.api",
		`{"kill":"n1"}`:            "kill",
		`{"kil":["n1"]}`:           "kil",
	} {
		f := newEngine()
		w := ask(t, f, "POST", "/api/whatif", body)
		if got := refusalOf(t, w); w.Code != http.StatusBadRequest || got.Field != field || len(f.asked) > 0 {
			t.Errorf("%s: got %d, field %q: %s", body, w.Code, got.Field, got.Message)
		}
	}
}

func TestARebalanceIsPlannedMadeOrRefused(t *testing.T) {
	for _, test := range []struct {
		path, body string
		code       int
		asked      string
	}{
		{"/api/rebalance", `{"plan":true,"moves":3}`, 200, "rebalance true 3  token:deploy"},
		{"/api/rebalance", `{"id":"p1"}`, 202, "rebalance false 0 p1 token:deploy"},
		{"/api/rebalance", ``, 202, "rebalance false 0  token:deploy"},
		{"/api/rebalance?wait=1s", `{}`, 200, "rebalance false 0  token:deploy"},
		{"/api/rebalance", `{"moves":-1}`, 400, ""},
		{"/api/rebalance", `{"plan":true,"id":"p1"}`, 400, ""},
	} {
		f := newEngine()
		close(f.ended)
		w := ask(t, f, "POST", test.path, test.body, "Authorization", "Bearer deploy")
		if w.Code != test.code || test.asked != "" && !slices.Contains(f.asked, test.asked) || test.asked == "" && len(f.asked) > 0 {
			t.Errorf("%s %s: got %d %s, asked %q", test.path, test.body, w.Code, w.Body, f.asked)
		}
		if test.code == 202 && w.Header().Get("Location") != "/api/jobs/j1" {
			t.Errorf("%s: the job is at %q", test.body, w.Header().Get("Location"))
		}
	}
}
