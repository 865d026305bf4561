package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seed is the deploy request in full, as the design page shows it.
const seed = `{"name": "api-server", "image": "myapp:latest", "replicas": 3,
 "ports": [{"container_port": 8080, "host_port": 8080, "protocol": "tcp"}],
 "resources": {"cpu_shares": 1024, "memory_mb": 512},
 "health_check": {"type": "http", "endpoint": "http://localhost:8080/health", "interval": "10s", "timeout": "2s", "retries": 3},
 "env": {"KEY": "value"}, "labels": {"traefik.http.middlewares.api-rl.ratelimit.average": "100"},
 "route": {"hosts": ["api.example.com"], "path_prefix": "", "strip_prefix": false, "cookie": {"name": "instance", "value": "api"}, "port": 8080, "protocol": "http", "failover": true, "tls": true},
 "sleep": {"after": "10m", "mode": "stop"}, "wake": {"answer": "auto", "max_wait": "60s", "needs": ["db"]},
 "command": [], "entrypoint": [], "user": "", "workdir": "", "stop_signal": "", "stop_grace": "10s", "restart": "always", "pull": "missing", "networks": [], "update": {"order": "start-first"}}`

func TestTheSeedFormIsAcceptedAsItStands(t *testing.T) {
	spec, err := DecodeSpec(strings.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	if spec.Env["KEY"].Reveal() != "value" || spec.Sleep.After.Std() != 10*time.Minute || !spec.Route.FailoverEnabled() {
		t.Errorf("decoded %+v", spec)
	}
}

func TestAShortBodyMeansTheDefaults(t *testing.T) {
	spec, err := DecodeSpec(strings.NewReader(`{"name":"api-server","image":"myapp"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultSpec()
	want.Name, want.Image = "api-server", "myapp"
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Error(diff)
	}
}

func TestEveryMistakeIsRefusedByTheNameOfItsField(t *testing.T) {
	const head = `{"name":"api","image":"app",`
	for body, field := range map[string]string{
		`{"image":"app"}`:                                       "name",
		`{"name":"api"}`:                                        "image",
		`{"name":"Api","image":"app"}`:                          "name",
		`{"name":"a","image":"app"}`:                            "name",
		head + `"replicas":-1}`:                                 "replicas",
		head + `"replicas":1.5}`:                                "replicas",
		head + `"replicas":"3"}`:                                "replicas",
		head + `"stop_signal":"SIGNOPE"}`:                       "stop_signal",
		head + `"stop_signal":"65"}`:                            "stop_signal",
		head + `"colour":"red"}`:                                "colour",
		head + `"name":"twice"}`:                                "name",
		head + `"resources":{"memory_mb":-4}}`:                  "resources.memory_mb",
		head + `"resources":{"memory":4}}`:                      "resources.memory",
		head + `"ports":[{"container_port":70000}]}`:            "ports[0].container_port",
		head + `"ports":[{"container_port":80,"proto":"tcp"}]}`: "ports[0].proto",
		head + `"ports":[{"container_port":80,"host_port":80},{"container_port":81,"host_port":80,"protocol":"tcp"}]}`:      "ports[1].host_port",
		head + `"ports":[{"container_port":80,"host_port":80,"host_ip":"127.0.0.1"},{"container_port":81,"host_port":80}]}`: "ports[1].host_port",
		head + `"sleep":{"after":"soon"}}`:                                                                  "sleep.after",
		head + `"sleep":{"after":600}}`:                                                                     "sleep.after",
		head + `"sleep":{"mode":"ladder"}}`:                                                                 "sleep.mode",
		head + `"wake":{"max_wait":"2h"}}`:                                                                  "wake.max_wait",
		head + `"wake":{"needs":["api"]}}`:                                                                  "wake.needs[0]",
		head + `"labels":{"spawner.fleet":"x"}}`:                                                            "labels.spawner.fleet",
		head + `"labels":{"origin":"x"}}`:                                                                   "labels.origin",
		head + `"networks":["host"]}`:                                                                       "networks[0]",
		head + `"route":{}}`:                                                                                "route",
		head + `"route":{"hosts":["a.example"],"cookie":{"nam":"x"}}}`:                                      "route.cookie.nam",
		head + `"health_check":{"type":"ping"}}`:                                                            "health_check.type",
		head + `"health_check":{"type":"http","endpoint":"http://evil/x"}}`:                                 "health_check.endpoint",
		head + `"health_check":{"type":"command"}}`:                                                         "health_check.command",
		head + `"update":{"order":"both"}}`:                                                                 "update.order",
		head + `"placement":{"constraints":["zone==eu","zone=eu"]}}`:                                        "placement.constraints[1]",
		head + `"placement":{"constraints":["==eu"]}}`:                                                      "placement.constraints[0]",
		head + `"placement":{"prefer":["zone"]}}`:                                                           "placement.prefer[0]",
		head + `"placement":{"spread":[{"over":""}]}}`:                                                      "placement.spread[0].over",
		head + `"placement":{"spread":[{"over":"zone"},{"over":"zone"}]}}`:                                  "placement.spread[1].over",
		head + `"placement":{"spread":[{"over":"zone","max_skew":2}]}}`:                                     "placement.spread[0].max_skew",
		head + `"placement":{"anti_affinity":"a b"}}`:                                                       "placement.anti_affinity",
		head + `"placement":{"strategy":"random"}}`:                                                         "placement.strategy",
		head + `"volumes":[{"name":"d","path":"/x"}]}`:                                                      "volumes[0].name",
		head + `"volumes":[{"name":"/srv","path":"/x"}]}`:                                                   "volumes[0].name",
		head + `"volumes":[{"name":"data","path":"x"}]}`:                                                    "volumes[0].path",
		head + `"volumes":[{"name":"data","path":"/a/../b"}]}`:                                              "volumes[0].path",
		head + `"volumes":[{"name":"data","path":"/"}]}`:                                                    "volumes[0].path",
		head + `"volumes":[{"name":"data","path":"/x"},{"name":"more","path":"/x"}]}`:                       "volumes[1].path",
		head + `"replicas":2,"volumes":[{"name":"data","path":"/x"}],"placement":{"anti_affinity":"node"}}`: "placement.anti_affinity",
		head + `"env":{"A=B":"x"}}`:                                                                         "env",
		head + `"command":"sh"}`:                                                                            "command",
	} {
		_, err := DecodeSpec(strings.NewReader(body))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want one about %s", body, err, field)
			continue
		}
		if e.Kind != Invalid || e.Field != field {
			t.Errorf("%s: %s about %q, want invalid about %q", body, e.Kind, e.Field, field)
		}
	}
}

func TestPortsThatDoNotExcludeEachOtherAreAccepted(t *testing.T) {
	for _, ports := range []string{
		`[{"container_port":80},{"container_port":80}]`,
		`[{"container_port":53,"host_port":53},{"container_port":53,"host_port":53,"protocol":"udp"}]`,
		`[{"container_port":80,"host_port":80,"host_ip":"10.0.0.1"},{"container_port":80,"host_port":80,"host_ip":"10.0.0.2"}]`,
	} {
		if _, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","ports":` + ports + `}`)); err != nil {
			t.Errorf("%s: %v", ports, err)
		}
	}
}

func TestABodyThatIsNotOneObjectIsRefused(t *testing.T) {
	for _, body := range []string{"", "  ", "null", "[]", `"x"`, "{", `{} {}`, `{"name":`} {
		if _, err := DecodeSpec(strings.NewReader(body)); KindOf(err) != Invalid {
			t.Errorf("%q: %v, want invalid", body, err)
		}
	}
	large := `{"name":"` + strings.Repeat("x", MaxSpecSize) + `"}`
	if _, err := DecodeSpec(strings.NewReader(large)); KindOf(err) != TooLarge {
		t.Errorf("large body: %v, want too_large", err)
	}
}

func TestMergingNamesOnlyWhatChanges(t *testing.T) {
	base, err := DecodeSpec(strings.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := DecodeSpecOver(base, strings.NewReader(`{"replicas":5,"env":{"NEW":"x"},"route":{"path_prefix":"/v2"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if merged.Replicas != 5 || merged.Env["KEY"].Reveal() != "value" || merged.Env["NEW"].Reveal() != "x" {
		t.Errorf("merged %+v", merged)
	}
	if merged.Route.PathPrefix != "/v2" || len(merged.Route.Hosts) != 1 {
		t.Errorf("merged route %+v", merged.Route)
	}
	if base.Route.PathPrefix != "" || len(base.Env) != 1 {
		t.Error("merging changed the base")
	}
}

func TestASecretIsNeverShown(t *testing.T) {
	const hidden = "hunter2"
	spec := DefaultSpec()
	spec.Env = map[string]Secret{"KEY": hidden}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("Deploying", "secret", spec.Env["KEY"], "env", spec.Env, "spec", spec)
	slog.New(slog.NewTextHandler(&log, nil)).Info("Deploying", "secret", spec.Env["KEY"], "env", spec.Env, "spec", spec)
	for _, shown := range []string{
		string(data), log.String(), fmt.Sprint(spec), fmt.Sprintf("%v %+v %#v", spec, spec, spec),
		fmt.Sprintf("%s %q %v %#v %x", spec.Env["KEY"], spec.Env["KEY"], spec.Env, spec.Env, spec.Env["KEY"]),
		fmt.Sprint(InvalidField("env.KEY", "%q is wrong", spec.Env["KEY"])),
	} {
		if strings.Contains(shown, hidden) || strings.Contains(shown, fmt.Sprintf("%x", hidden)) {
			t.Errorf("shows the secret: %s", shown)
		}
	}
	if !strings.Contains(string(data), `"KEY":"redacted"`) {
		t.Errorf("says nothing of the variable: %s", data)
	}
}

func TestKindsAndHTTPStatusesMapBothWays(t *testing.T) {
	for kind, status := range statuses {
		if kind.HTTPStatus() != status || KindOfHTTPStatus(status) != kind {
			t.Errorf("%s ↔ %d is not one to one", kind, status)
		}
	}
}

// FuzzDecodeSpec holds that whatever is accepted marshals to a body that is accepted again, unchanged.
func FuzzDecodeSpec(f *testing.F) {
	f.Add(seed)
	f.Add(`{"name":"api","image":"app"}`)
	f.Fuzz(func(t *testing.T, body string) {
		spec, err := DecodeSpec(strings.NewReader(body))
		if err != nil {
			return
		}
		data, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeSpec(strings.NewReader(string(data)))
		if err != nil {
			t.Fatalf("accepted %s, then refused %s: %v", body, data, err)
		}
		second, err := json.Marshal(again)
		if err != nil || string(second) != string(data) {
			t.Fatalf("%s became %s (%v)", data, second, err)
		}
	})
}

// A preset that comes later is allowed as an empty word; a refusal offers only words.
func TestChoicesOfARefusalAreWords(t *testing.T) {
	_, err := DecodeSpec(strings.NewReader(`{"name":"web","image":"web:1","route":{"hosts":["web.localhost"],"protocol":"gopher"}}`))
	if err == nil || !strings.Contains(err.Error(), "is not one of http, https, h2c") {
		t.Errorf("the error is %v", err)
	}
}

func TestSignalsAreTakenByNameAndNumber(t *testing.T) {
	for _, signal := range []string{"SIGTERM", "TERM", "SIGRTMIN+3", "RTMAX-14", "9", "64"} {
		if _, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","stop_signal":"` + signal + `"}`)); err != nil {
			t.Errorf("%s: %v", signal, err)
		}
	}
}

func TestOneMistakeIsToldOnce(t *testing.T) {
	for _, body := range []string{`"sleep":{"after":"-10s"}`, `"restart_limit":{"window":"-1s"}`} {
		_, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app",` + body + `}`))
		if err == nil || strings.Count(err.Error(), "-1") != 1 {
			t.Errorf("%s: %v", body, err)
		}
	}
}
