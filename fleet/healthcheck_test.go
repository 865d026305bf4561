package fleet

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
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
	spec.HealthCheck = &HealthCheck{Type: CheckHTTP, Headers: map[string]string{"Authorization": "Bearer hunter2"}}
	shown, err := json.Marshal(spec.WithoutCredentials())
	if err != nil || strings.Contains(string(shown), "hunter2") {
		t.Errorf("got %s: %v", shown, err)
	}
	if spec.HealthCheck.Headers["Authorization"] == "" {
		t.Error("the spec itself was changed")
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
