package probes

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestHTTPProbeAsksTheReplicaWhateverItsOwnNameInTheEndpoint(t *testing.T) {
	var hosts []string
	target := serve(t, func(_ http.ResponseWriter, r *http.Request) { hosts = append(hosts, r.Host) })
	port := strings.TrimPrefix(httpCheck(target, "x", "").Endpoint, "http://x")
	for _, host := range []string{"localhost", "api", "api-0", "API-12"} {
		if err := New(Config{}).Probe(t.Context(), target, httpCheck(target, host, "/health")); err != nil {
			t.Errorf("host %s: %v", host, err)
		}
	}
	want := []string{"localhost" + port, "api" + port, "api-0" + port, "API-12" + port}
	if diff := cmp.Diff(want, hosts); diff != "" {
		t.Errorf("Host headers (-want +got):\n%s", diff)
	}
}

func TestHTTPProbeNeverLeavesTheReplica(t *testing.T) {
	asked := false
	target := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	for _, endpoint := range []string{
		"http://169.254.169.254/latest", "http://apis/", "http://api-/", "http://api-12345/", "http://api-x/",
		"http://user:pass@localhost/", "file:///etc/passwd", "http://localhost:0/", "http://localhost:70000/", "/health", "http://127.0.0.1/", "",
	} {
		check := fleet.HealthCheck{Type: fleet.CheckHTTP, Endpoint: endpoint}
		err := New(Config{}).Probe(t.Context(), target, check)
		if fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("endpoint %q: got %v, want an invalid endpoint", endpoint, err)
		}
	}
	if asked {
		t.Error("the replica was asked for a refused endpoint")
	}
}

func TestHTTPProbeFollowsNoRedirectAndJudgesTheStatusAlone(t *testing.T) {
	followed := false
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/followed", http.StatusFound)
		case "/followed":
			followed = true
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		case "/error":
			http.Error(w, "password is hunter2", http.StatusInternalServerError)
		}
	})
	tests := []struct {
		path string
		ok   []int
		want string
	}{
		{"/redirect", nil, ""},
		{"/redirect", []int{200}, "answered 302, not 200"},
		{"/teapot", nil, "answered 418, not 200 to 399"},
		{"/teapot", []int{200, 418}, ""},
		{"/error", []int{200, 204}, "answered 500, not 200 or 204"},
	}
	for _, test := range tests {
		check := httpCheck(target, "localhost", test.path)
		check.OKStatus = test.ok
		err := New(Config{}).Probe(t.Context(), target, check)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, test.want) || (test.want == "") != (err == nil) {
			t.Errorf("%s %v: got %q, want %q", test.path, test.ok, got, test.want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: the body is in the error: %q", test.path, got)
		}
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

func TestHTTPProbeSendsItsHeadersAndShowsNoQuery(t *testing.T) {
	var got http.Header
	var host string
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, host = r.Header, r.Host
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	check := httpCheck(target, "localhost", "/health?token=hunter2")
	check.Headers = map[string]fleet.Secret{"host": "site.example", "Authorization": "Bearer hunter3"}
	err := New(Config{}).Probe(t.Context(), target, check)
	if err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("error: got %v, want one without secrets", err)
	}
	if host != "site.example" || got.Get("Authorization") != "Bearer hunter3" {
		t.Errorf("got host %q, headers %v", host, got)
	}
}

func TestHTTPProbeTakesAnyCertificateOfTheReplica(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	target := targetAt(t, server.Listener.Addr().String())
	check := httpCheck(target, "localhost", "/")
	check.Endpoint = "https" + strings.TrimPrefix(check.Endpoint, "http")
	if err := New(Config{}).Probe(t.Context(), target, check); err != nil {
		t.Error(err)
	}
}

func TestHTTPProbeIsNotHeldUpByAnEndlessBody(t *testing.T) {
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	check := httpCheck(target, "localhost", "/")
	check.Timeout = fleet.Duration(time.Minute)
	if err := New(Config{}).Probe(t.Context(), target, check); err != nil {
		t.Error(err)
	}
}

func TestHTTPProbeReportsNothingOfWhatIsNotHTTP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := io.WriteString(conn, "SSH hunter2\r\n\r\n"); err != nil {
				t.Error(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	target := targetAt(t, listener.Addr().String())
	err = New(Config{}).Probe(t.Context(), target, httpCheck(target, "localhost", "/"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error without the answer's text", err)
	}
}

func TestATimeoutBoundsEachProbe(t *testing.T) {
	target := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	check := httpCheck(target, "localhost", "/hang")
	check.Timeout = fleet.Duration(20 * time.Millisecond)
	err := New(Config{}).Probe(t.Context(), target, check)
	if err == nil || !strings.HasSuffix(err.Error(), "no answer in time") {
		t.Errorf("got %v, want no answer in time", err)
	}
}

func TestTCPProbeDialsItsPortElseTheService(t *testing.T) {
	open := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed := closedPort(t)
	p := New(Config{})
	if err := p.Probe(t.Context(), open, fleet.HealthCheck{Type: fleet.CheckTCP}); err != nil {
		t.Error(err)
	}
	err := p.Probe(t.Context(), open, fleet.HealthCheck{Type: fleet.CheckTCP, Port: closed.Port})
	if err == nil || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("got %v, want connection refused", err)
	}
}

func TestAReplicaWithoutAddressOrPortIsSaidToHaveNone(t *testing.T) {
	p := New(Config{})
	for want, target := range map[string]Target{
		"the replica has no address":            {Port: 80},
		"the service has no port to connect to": {Addr: netip.MustParseAddr("127.0.0.1")},
	} {
		if err := p.Probe(t.Context(), target, fleet.HealthCheck{Type: fleet.CheckTCP}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestCommandProbeJudgesTheExitCodeAndKeepsTheOutput(t *testing.T) {
	code := 0
	p := New(Config{Execer: execFunc(func(_ context.Context, node, id string, command []string) (fleet.ExecResult, error) {
		if node != "local" || id != "cafe" || len(command) != 1 {
			t.Errorf("got exec %s %s %v", node, id, command)
		}
		return fleet.ExecResult{ExitCode: code, Output: []byte("hunter2")}, nil
	})})
	target := closedPort(t)
	check := fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"true"}}
	if err := p.Probe(t.Context(), target, check); err != nil {
		t.Error(err)
	}
	code = 3
	err := p.Probe(t.Context(), target, check)
	if err == nil || err.Error() != "the command ended with exit code 3" {
		t.Errorf("got %v", err)
	}
	if err := p.Probe(t.Context(), target, fleet.HealthCheck{Type: fleet.CheckDocker}); err == nil {
		t.Error("a docker check without HEALTHCHECK passed")
	}
	if err := New(Config{}).Probe(t.Context(), target, check); err == nil {
		t.Error("a command passed without an Execer")
	}
}

func TestCommandThatHangsEndsWithItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Execer: execFunc(func(ctx context.Context, _, _ string, _ []string) (fleet.ExecResult, error) {
			<-ctx.Done()
			return fleet.ExecResult{}, ctx.Err()
		})})
		began := time.Now()
		err := p.Probe(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"sleep"}, Timeout: fleet.Duration(3 * time.Second)})
		if err == nil || err.Error() != "cannot run the command: no answer in time" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s, want 3s", took)
		}
	})
}

func TestUnknownCheckIsAnError(t *testing.T) {
	if err := New(Config{}).Probe(t.Context(), Target{}, fleet.HealthCheck{Type: "magic"}); err == nil {
		t.Error("an unknown type passed")
	}
	if err := New(Config{}).Probe(t.Context(), Target{}, fleet.HealthCheck{Type: fleet.CheckNone}); err != nil {
		t.Error(err)
	}
}
