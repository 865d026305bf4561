package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnEndpointAsksTheReplicaItselfAndNobodyElse(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"http://localhost:8080/health":    true,
		"https://LOCALHOST/":              true,
		"http://api:9000/status?token=x":  true,
		"http://API-0:9000/":              true,
		"http://api-999/":                 true,
		"http://api-/":                    false,
		"http://api-x/":                   false,
		"http://api-00000/":               false,
		"http://api2/":                    false,
		"http://localhost.evil.example/":  false,
		"http://127.0.0.1/":               false,
		"http://169.254.169.254/metadata": false,
		"http://user:secret@localhost/":   false,
		"http://localhost:0/":             false,
		"http://localhost:65536/":         false,
		"ftp://localhost/":                false,
		"//localhost/":                    false,
		"localhost:8080":                  false,
		"":                                false,
	} {
		_, err := ParseEndpoint(endpoint, "api")
		if (err == nil) != good {
			t.Errorf("%q: %v", endpoint, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats it: %v", endpoint, err)
		}
	}
	if _, err := ParseEndpoint("http:///", ""); err == nil {
		t.Error("no host is no name of a nameless service")
	}
}

func TestACheckOfTheImageLeavesOpenWhatTheImageSays(t *testing.T) {
	spec, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","health_check":{"type":"docker","retries":5}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c := spec.HealthCheck; c.Interval != 0 || c.Timeout != 0 || c.Retries != 5 {
		t.Errorf("got %+v", c)
	}
	spec, err = DecodeSpec(strings.NewReader(`{"name":"api","image":"app","health_check":{"type":"tcp"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c := spec.HealthCheck; c.Interval != DefaultInterval || c.Timeout != DefaultTimeout || c.Retries != DefaultRetries {
		t.Errorf("got %+v", c)
	}
}

func TestAnInstancesCheckByLabelIsRefusedWhereItCouldNotBeAsked(t *testing.T) {
	for label, good := range map[string]bool{"http://minion-1:9000/status": true, "http://other:9000/status": false, "9000": false} {
		spec := DefaultSpec()
		spec.Name, spec.Image, spec.Direct = "minion-1", "mock-app", true
		spec.Labels = map[string]string{"healthcheck": label}
		err := spec.Validate()
		var e *Error
		if good && err != nil || !good && (!errors.As(err, &e) || e.Field != "labels.healthcheck") {
			t.Errorf("%q: %v", label, err)
		}
	}
}

func TestASpecWithoutCredentialsHasNone(t *testing.T) {
	spec := DefaultSpec()
	spec.Env = map[string]Secret{"KEY": "hunter2"}
	spec.HealthCheck = &HealthCheck{Type: CheckHTTP, Headers: map[string]Secret{"Authorization": "Bearer hunter2"}}
	shown, err := json.Marshal(spec.WithoutCredentials())
	if err != nil || strings.Contains(string(shown), "hunter2") {
		t.Errorf("got %s: %v", shown, err)
	}
	if spec.HealthCheck.Headers["Authorization"] == "" {
		t.Error("the spec itself was changed")
	}
}

func TestARevealedSpecHasItsSecrets(t *testing.T) {
	spec := DefaultSpec()
	spec.Env = map[string]Secret{"KEY": "hunter2"}
	spec.HealthCheck = &HealthCheck{Type: CheckHTTP, Headers: map[string]Secret{"Authorization": "Bearer hunter3"}}
	hidden, err := json.Marshal(spec)
	if err != nil || strings.Contains(string(hidden), "hunter") || strings.Contains(fmt.Sprintf("%+v %#v", *spec.HealthCheck, *spec.HealthCheck), "hunter") {
		t.Errorf("got %s: %v", hidden, err)
	}
	shown, err := json.Marshal(spec.Reveal())
	if err != nil || strings.Count(string(shown), "hunter") != 2 {
		t.Errorf("got %s: %v", shown, err)
	}
	var again Spec
	if err := json.Unmarshal(shown, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec, again); diff != "" {
		t.Error(diff)
	}
}

func TestWhatMeansNothingToACheckIsRefused(t *testing.T) {
	for check, field := range map[string]string{
		`"type":"tcp","endpoint":"http://localhost/"`:                                                        "endpoint",
		`"type":"tcp","ok_status":[200]`:                                                                     "ok_status",
		`"type":"tcp","headers":{"X-A":"1"}`:                                                                 "headers",
		`"type":"tcp","command":["true"]`:                                                                    "command",
		`"type":"tcp","settling_delay":"1s"`:                                                                 "settling_delay",
		`"type":"http","endpoint":"http://localhost/","port":80`:                                             "port",
		`"type":"http","endpoint":"http://localhost/","command":["true"]`:                                    "command",
		`"type":"command","command":["true"],"port":80`:                                                      "port",
		`"type":"docker","command":["true"]`:                                                                 "command",
		`"type":"none","successes":2`:                                                                        "successes",
		`"type":"none","start_period":"1s"`:                                                                  "start_period",
		`"type":"none","interval":"1s"`:                                                                      "interval",
		`"type":"none","timeout":"1s"`:                                                                       "timeout",
		`"type":"none","retries":5`:                                                                          "retries",
		`"type":"none","settling_delay":"1s","interval":"10s","timeout":"2s","retries":3`:                    "",
		`"type":"tcp","endpoint":"","command":[],"headers":{},"ok_status":[],"port":80`:                      "",
		`"type":"docker","interval":"1s","timeout":"1s","retries":5,"successes":2,"start_period":"5s"`:       "",
		`"type":"command","command":["true"],"interval":"1s","timeout":"1s","retries":5,"start_period":"5s"`: "",
		`"type":"http","endpoint":"http://localhost/","ok_status":[204],"headers":{"X-A":"1"},"successes":2`: "",
	} {
		_, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","health_check":{` + check + `}}`))
		var e *Error
		switch {
		case field == "" && err != nil:
			t.Errorf("%s: %v", check, err)
		case field != "" && (!errors.As(err, &e) || e.Field != "health_check."+field || !strings.Contains(e.Message, "it is for")):
			t.Errorf("%s: %v, want %s refused", check, err, field)
		}
	}
}

func TestACheckOfAnotherTypeInheritsOnlyWhatItHasAUseFor(t *testing.T) {
	base, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","health_check":{"type":"http","endpoint":"http://localhost/","interval":"5s","headers":{"X-A":"1"},"successes":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	before := *base.HealthCheck
	for body, want := range map[string]HealthCheck{
		`{"type":"tcp"}`:  {Type: CheckTCP, Interval: Duration(5 * time.Second), Successes: 2},
		`{"type":"none"}`: {Type: CheckNone},
		`{"retries":4}`:   {Type: CheckHTTP, Endpoint: "http://localhost/", Interval: Duration(5 * time.Second), Headers: before.Headers, Successes: 2, Retries: 4},
	} {
		want := want.WithDefaults()
		spec, err := DecodeSpecOver(base, strings.NewReader(`{"health_check":`+body+`}`))
		if err != nil || cmp.Diff(&want, spec.HealthCheck) != "" {
			t.Errorf("%s: %v %s", body, err, cmp.Diff(&want, spec.HealthCheck))
		}
	}
	_, err = DecodeSpecOver(base, strings.NewReader(`{"health_check":{"type":"tcp","endpoint":"http://localhost/else"}}`))
	var e *Error
	if !errors.As(err, &e) || e.Field != "health_check.endpoint" {
		t.Errorf("a field that the body itself sets: %v", err)
	}
	if diff := cmp.Diff(before, *base.HealthCheck); diff != "" {
		t.Errorf("the base was changed: %s", diff)
	}
}

func TestHeadersOfACheckAreHeaders(t *testing.T) {
	for _, headers := range []string{`{"X Y":"1"}`, `{"X-Y":"1\r\nHost: z"}`, `{"":"1"}`} {
		_, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app","health_check":{"type":"http","endpoint":"http://localhost/","headers":` + headers + `}}`))
		var e *Error
		if !errors.As(err, &e) || e.Field != "health_check.headers" {
			t.Errorf("%s: %v", headers, err)
		}
	}
}

func TestWhatCountsHealthAndRestartsIsBounded(t *testing.T) {
	for body, field := range map[string]string{
		`"health_check":{"type":"tcp","successes":3}`:               "",
		`"health_check":{"type":"tcp","successes":-1}`:              "health_check.successes",
		`"health_check":{"type":"tcp","successes":101}`:             "health_check.successes",
		`"restart":"always","restart_limit":{}`:                     "",
		`"restart_limit":{"attempts":5,"window":"10m"}`:             "",
		`"restart_limit":{"attempts":-1}`:                           "restart_limit.attempts",
		`"restart_limit":{"attempts":1001}`:                         "restart_limit.attempts",
		`"restart_limit":{"attempts":5,"window":"10ms"}`:            "restart_limit.window",
		`"restart_limit":{"window":"-1s"}`:                          "restart_limit.window",
		`"restart_limit":{"tries":5}`:                               "restart_limit.tries",
		`"restart":"sometimes"`:                                     "restart",
		`"health_check":{"type":"tcp","start_period":"-1s"}`:        "health_check.start_period",
		`"health_check":{"type":"tcp","retries":0,"interval":"1s"}`: "",
	} {
		_, err := DecodeSpec(strings.NewReader(`{"name":"api","image":"app",` + body + `}`))
		var e *Error
		if field == "" && err != nil || field != "" && (!errors.As(err, &e) || e.Field != field) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
