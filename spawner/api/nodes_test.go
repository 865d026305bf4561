package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestANodeIsAddedWithItsSecretsAndTheyAreNeverAnswered(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/nodes", `{"name":"n2","endpoint":"tcp://10.0.0.2:2376","labels":{"zone":"b"},"tls":{"ca":"CA","cert":"CERT","key":"very-secret"}}`)
	if w.Code != http.StatusCreated || len(f.nodes) != 1 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if got := f.nodes[0]; got.TLS.Key.Reveal() != "very-secret" || got.TLS.CA != "CA" || got.Labels["zone"] != "b" {
		t.Errorf("got %#v", got)
	}
	if strings.Contains(w.Body.String(), "very-secret") {
		t.Errorf("the answer shows the key: %s", w.Body)
	}
}

func TestAWrongNodeIsRefusedByItsFieldBeforeAnybodyIsAsked(t *testing.T) {
	for body, field := range map[string]string{
		`{"name":"-","endpoint":"unix:///x.sock"}`:                                       "name",
		`{"name":"n","endpoint":"http://host"}`:                                          "endpoint",
		`{"name":"n","endpoint":"tcp://host"}`:                                           "endpoint",
		`{"name":"n","endpoint":"ssh://me:word@host"}`:                                   "endpoint",
		`{"name":"n","endpoint":"unix:///x.sock","address":"host"}`:                      "address",
		`{"name":"n","endpoint":"unix:///x.sock","labels":{"node":"c"}}`:                 "labels.node",
		`{"name":"n","endpoint":"unix:///x.sock","labels":{"a b":"c"}}`:                  "labels.a b",
		`{"name":"n","endpoint":"unix:///x.sock","tls":{"ca":"x"}}`:                      "tls",
		`{"name":"n","endpoint":"tcp://h:1","tls":{"cert":"x"}}`:                         "tls.cert",
		`{"name":"n","endpoint":"tcp://h:1","ssh":{}}`:                                   "ssh",
		`{"name":"n","endpoint":"ssh://h","ssh":{"host_key":"SHA256:abc"}}`:              "ssh.host_key",
		`{"name":"n","endpoint":"unix:///x.sock","colour":"blue"}`:                       "colour",
		`{"name":"n","endpoint":"unix:///x.sock","address":"0.0.0.0"}`:                   "address",
		`{"name":"n","endpoint":"tcp://h:1","tls":{"ca":"x","keys":"y"}}`:                "tls.keys",
		`{"name":"n","endpoint":"unix:///x.sock","allow_plain_tcp":"yes"}`:               "allow_plain_tcp",
		`{"name":"n","endpoint":"unix:///x.sock","labels":{"a":"` + "\\u0007" + `"}}`:    "labels.a",
		`{"name":"` + strings.Repeat("n", 64) + `","endpoint":"unix:///var/run/x.sock"}`: "name",
	} {
		f := newEngine()
		w := ask(t, f, "POST", "/api/nodes", body)
		if got := refusalOf(t, w); w.Code != http.StatusBadRequest || got.Field != field || len(f.nodes) > 0 {
			t.Errorf("%s: got %d, field %q: %s", body, w.Code, got.Field, got.Message)
		}
		if strings.Contains(w.Body.String(), "me:word") {
			t.Errorf("the answer shows a password: %s", w.Body)
		}
	}
}

func TestTheVerbsOfANodeReachWhoCarriesThemOut(t *testing.T) {
	for call, want := range map[string]string{
		"DELETE /api/nodes/n2":            "remove-node n2 false token:admin",
		"DELETE /api/nodes/n2?force=true": "remove-node n2 true token:admin",
		"POST /api/nodes/n2/drain":        "drain-node n2 token:admin",
		"POST /api/nodes/n2/resume":       "resume-node n2 token:admin",
	} {
		f := newEngine()
		f.list = []fleet.Node{{Name: "n2", Replicas: 3}}
		method, path, _ := strings.Cut(call, " ")
		w := ask(t, f, method, path, "")
		if w.Code >= 300 || f.asked[0] != want {
			t.Errorf("%s: got %d %s, asked %q", call, w.Code, w.Body, f.asked)
		}
		if method == "POST" && !strings.Contains(w.Body.String(), `"replicas":3`) {
			t.Errorf("%s: it does not say what is there: %s", call, w.Body)
		}
	}
}

func TestOneNodeIsFoundByItsNameAndAnUnknownOneIsNot(t *testing.T) {
	f := newEngine()
	f.list = []fleet.Node{{Name: "n1"}, {Name: "n2", Endpoint: "unix:///x"}}
	w := ask(t, f, "GET", "/api/nodes/n2", "")
	var node fleet.Node
	if err := json.Unmarshal(w.Body.Bytes(), &node); err != nil || node.Endpoint != "unix:///x" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := ask(t, f, "GET", "/api/nodes/n3", ""); w.Code != http.StatusNotFound {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestWhatIsUsedIsMeasuredWhenItIsAskedForAndOnlyWhereAnEngineAnswers(t *testing.T) {
	f := newEngine()
	f.list = []fleet.Node{{Name: "n1", State: fleet.NodeReady}, {Name: "n2", State: fleet.NodeSilent}}
	if w := ask(t, f, "GET", "/api/nodes", ""); strings.Contains(w.Body.String(), `"used"`) || slices.Contains(f.asked, "usage n1") {
		t.Errorf("got %s, asked %q", w.Body, f.asked)
	}
	var nodes []fleet.Node
	w := ask(t, f, "GET", "/api/nodes?used", "")
	if err := json.Unmarshal(w.Body.Bytes(), &nodes); err != nil || len(nodes) != 2 {
		t.Fatalf("got %s: %v", w.Body, err)
	}
	if nodes[0].Used == nil || nodes[0].Used.MemoryMB != 64 || nodes[1].Used != nil {
		t.Errorf("got %s", w.Body)
	}
}
