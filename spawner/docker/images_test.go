package docker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"edgespawner/fleet"
)

const pullCall = "POST /images/create"

// imageEngine has the image app:latest and app:v1, or has them once pulled.
func imageEngine(t *testing.T, local bool, pull http.HandlerFunc) *fakeEngine {
	t.Helper()
	f := newFakeEngine(t)
	have := func() {
		for _, ref := range []string{"app", "app:latest", "app:v1"} {
			f.on("GET /images/"+ref+"/json", 200, map[string]any{"Id": "sha256:1", "RepoDigests": []string{"other@sha256:" + strings.Repeat("1", 64), "app@sha256:" + strings.Repeat("2", 64)}})
		}
	}
	for _, ref := range []string{"app", "app:latest", "app:v1"} {
		f.on("GET /images/"+ref+"/json", 404, "No such image: "+ref)
	}
	if local {
		have()
	}
	f.handle(pullCall, func(w http.ResponseWriter, r *http.Request) {
		pull(w, r)
		have()
	})
	return f
}

func pullRefused(status int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, message) }
}

func pullStreams(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, strings.Join(lines, "\n")) }
}

var pullGood = pullStreams(`{"status":"Pulling from library/app"}`, `{"status":"Status: Downloaded newer image"}`)

func TestAPolicySaysWhenARegistryIsAsked(t *testing.T) {
	rows := []struct {
		name   string
		ref    string
		policy fleet.PullPolicy
		local  bool
		pull   http.HandlerFunc
		asked  int
		kind   fleet.Kind // "" = it is there
	}{
		{"missing, and it is there", "app:v1", fleet.PullMissing, true, pullGood, 0, ""},
		{"missing, and it is not", "app:v1", fleet.PullMissing, false, pullGood, 1, ""},
		{"no policy is missing", "app:v1", "", true, pullGood, 0, ""},
		{"latest is asked for", "app:latest", fleet.PullMissing, true, pullGood, 1, ""},
		{"no tag is latest", "app", fleet.PullMissing, true, pullGood, 1, ""},
		{"latest falls back when the registry does not have it", "app:latest", fleet.PullMissing, true, pullRefused(404, "pull access denied for app, repository does not exist"), 1, ""},
		{"latest falls back when the registry is out of reach", "app:latest", fleet.PullMissing, true, pullRefused(500, "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host"), 1, ""},
		{"latest falls back when the registry is silent", "app:latest", fleet.PullMissing, true, never, 1, ""},
		{"latest falls back when the stream breaks off with an error", "app:latest", fleet.PullMissing, true, pullStreams(`{"status":"x"}`, `{"error":"toomanyrequests","errorDetail":{"message":"toomanyrequests"}}`), 1, ""},
		{"always, and the registry has it", "app:v1", fleet.PullAlways, true, pullGood, 1, ""},
		{"always does not fall back", "app:v1", fleet.PullAlways, true, pullRefused(500, "dial tcp 10.0.0.1:443: i/o timeout"), 1, fleet.Unavailable},
		{"always and silent", "app:v1", fleet.PullAlways, true, never, 1, fleet.Unavailable},
		{"never, and it is there", "app:latest", fleet.PullNever, true, pullGood, 0, ""},
		{"never, and it is not", "app:v1", fleet.PullNever, false, pullGood, 0, fleet.NotFound},
		{"nobody has it", "app:v1", fleet.PullMissing, false, pullRefused(404, "manifest for app:v1 not found: manifest unknown"), 1, fleet.NotFound},
		{"nobody has it, told late", "app:v1", fleet.PullMissing, false, pullStreams(`{"error":"manifest unknown","errorDetail":{"message":"manifest unknown"}}`), 1, fleet.NotFound},
		{"no permission", "app:v1", fleet.PullMissing, false, pullRefused(500, "Get https://r/v2/: unauthorized: authentication required"), 1, fleet.NotFound},
		{"out of reach", "app:v1", fleet.PullMissing, false, pullRefused(500, "dial tcp 127.0.0.1:1: connect: connection refused"), 1, fleet.Unavailable},
		{"the connection breaks", "app:v1", fleet.PullMissing, false, pullStreams(`{"error":"unexpected EOF"}`), 1, fleet.Unavailable},
		{"the registry answers 503", "app:v1", fleet.PullMissing, false, pullRefused(500, "received unexpected HTTP status: 503 Service Unavailable"), 1, fleet.Unavailable},
		{"the registry answers 502 without sense", "app:v1", fleet.PullMissing, false, pullRefused(500, "error parsing HTTP 502 response body: invalid character '<'"), 1, fleet.Unavailable},
		{"the registry answers 500 to a newer engine", "app:v1", fleet.PullMissing, false, pullStreams(`{"error":"failed to copy: unexpected status from GET request to https://r/v2/app/blobs/sha256:1: 500 Internal Server Error"}`), 1, fleet.Unavailable},
		{"the registry asks for a pause", "app:v1", fleet.PullMissing, false, pullRefused(500, "toomanyrequests: You have reached your pull rate limit"), 1, fleet.Busy},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := imageEngine(t, row.local, row.pull)
			p := f.pool(t)
			if strings.Contains(row.name, "silent") {
				p.bounds.fallback, p.bounds.pull = 100*time.Millisecond, 100*time.Millisecond
			}
			got, err := p.Images().Ensure(t.Context(), "local", row.ref, row.policy)
			if row.kind == "" && (err != nil || got.ID != "sha256:1" || got.Ref != row.ref || got.Digest != "app@sha256:"+strings.Repeat("2", 64)) {
				t.Errorf("got %+v, %v", got, err)
			}
			if row.kind != "" {
				wantError(t, err, row.kind, "image", row.ref[:3])
			}
			if asked := f.count(pullCall); asked != row.asked {
				t.Errorf("the registry was asked %d times, want %d", asked, row.asked)
			}
		})
	}
}

func TestASilentRegistryIsNotWaitedForByEveryDeploy(t *testing.T) {
	f := imageEngine(t, true, never)
	p := f.pool(t)
	p.bounds.fallback, p.bounds.pull = 50*time.Millisecond, 100*time.Millisecond
	for range 3 {
		if _, err := p.Images().Ensure(t.Context(), "local", "app:latest", fleet.PullMissing); err != nil {
			t.Fatal(err)
		}
	}
	if asked := f.count(pullCall); asked != 1 {
		t.Errorf("it was asked %d times, want once", asked)
	}
	p.Images().Ensure(t.Context(), "local", "app:v1", fleet.PullAlways)
	if asked := f.count(pullCall); asked != 2 {
		t.Error("a pull that has nothing to fall back on did not ask")
	}
}

func TestABrokenReferenceIsInvalid(t *testing.T) {
	f := newFakeEngine(t)
	f.on("GET /images/A B/json", 400, "invalid reference format")
	_, err := f.pool(t).Images().Ensure(t.Context(), "local", "A B", fleet.PullMissing)
	wantError(t, err, fleet.Invalid, "image", "invalid reference format")
}

func TestACheckAsksTheRegistryAndPullsNothing(t *testing.T) {
	f := imageEngine(t, false, pullGood)
	p := f.pool(t)
	check := func(policy fleet.PullPolicy) error { return p.Images().Check(t.Context(), "local", "app:v1", policy) }
	const call = "GET /distribution/docker.io/library/app:v1/json"
	f.on(call, 200, map[string]any{"Descriptor": map[string]any{"digest": "sha256:1"}})
	if err := check(fleet.PullMissing); err != nil {
		t.Error(err)
	}
	f.on(call, 404, "manifest unknown")
	wantError(t, check(fleet.PullMissing), fleet.NotFound, "image", "does not give out image app:v1")
	f.on(call, 403, "error parsing HTTP 403 response body: denied: requested access to the resource is denied")
	wantError(t, check(fleet.PullMissing), fleet.NotFound, "image", "docker login")
	f.handle(call, never)
	p.bounds.check = 100 * time.Millisecond
	wantError(t, check(fleet.PullMissing), fleet.Unavailable, "image", "cannot be reached")
	wantError(t, check(fleet.PullNever), fleet.NotFound, "image", "pull is never")
	if f.count(pullCall) != 0 {
		t.Error("it pulled")
	}
	f.on("GET /images/app:v1/json", 200, map[string]any{"Id": "sha256:1"})
	if err := check(fleet.PullMissing); err != nil {
		t.Error(err)
	}
}

func TestTheLoginFileServesItsRegistries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	encoded := base64.StdEncoding.EncodeToString([]byte("user:pass:word"))
	content := `{"auths": {"https://index.docker.io/v1/": {"auth": "` + encoded + `"}, "r.example:5000": {"username": "u", "password": "p"}, "https://old.example/v2/": {"identitytoken": "t"}, "bad.example": {"auth": "%"}}, "credsStore": "desktop"}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var shown string
	f := imageEngine(t, false, func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("X-Registry-Auth")
		pullGood(w, r)
	})
	p := f.pool(t)
	p.loginFile = path
	if _, err := p.Images().Ensure(t.Context(), "local", "app:v1", fleet.PullMissing); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]map[string]string{
		"docker.io":      {"username": "user", "password": "pass:word", "serveraddress": "https://index.docker.io/v1/"},
		"r.example:5000": {"username": "u", "password": "p", "serveraddress": "r.example:5000"},
		"old.example":    {"identitytoken": "t", "serveraddress": "https://old.example/v2/"},
	} {
		header, err := p.credentials(host)
		if err != nil {
			t.Fatal(err)
		}
		if host == "docker.io" && header != shown {
			t.Error("the pull did not show the login")
		}
		plain, err := base64.URLEncoding.DecodeString(header)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(plain, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
	if header, err := p.credentials("other.example"); header != "" || err != nil {
		t.Errorf("a registry without a login: %q, %v", header, err)
	}
	if _, err := p.credentials("bad.example"); err == nil || strings.Contains(err.Error(), "%!") {
		t.Errorf("a broken login: %v", err)
	}
}

func TestAHealthcheckIsReadyToBeExecuted(t *testing.T) {
	config := func(test ...string) *dockerspec.DockerOCIImageConfig {
		return &dockerspec.DockerOCIImageConfig{
			ImageConfig:             ocispec.ImageConfig{},
			DockerOCIImageConfigExt: dockerspec.DockerOCIImageConfigExt{Healthcheck: &dockerspec.HealthcheckConfig{Test: test, Retries: 5, StartPeriod: time.Minute}},
		}
	}
	want := &fleet.ImageCheck{Command: []string{"/app", "health"}, Interval: 30 * time.Second, Timeout: 30 * time.Second, Retries: 5, StartPeriod: time.Minute}
	if diff := cmp.Diff(want, checkOf(config("CMD", "/app", "health"))); diff != "" {
		t.Error(diff)
	}
	want.Command = []string{"/bin/sh", "-c", "curl x || exit 1"}
	if diff := cmp.Diff(want, checkOf(config("CMD-SHELL", "curl x || exit 1"))); diff != "" {
		t.Error(diff)
	}
	if got := checkOf(config("NONE")); got != nil {
		t.Errorf("NONE: %+v", got)
	}
	if got := checkOf(&dockerspec.DockerOCIImageConfig{}); got != nil {
		t.Errorf("nothing: %+v", got)
	}
}
