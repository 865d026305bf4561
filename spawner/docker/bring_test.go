package docker

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
)

const (
	saveCall = "GET /images/get"
	loadCall = "POST /images/load"
)

// holder is an engine that has the image app:v1 with that id, made at that time.
func holder(t *testing.T, id, made, arch string) *fakeEngine {
	t.Helper()
	f := newFakeEngine(t)
	f.on("GET /version", 200, map[string]string{"ApiVersion": "1.41", "Os": "linux", "Arch": arch})
	for _, ref := range []string{"app:v1", id} {
		f.on("GET /images/"+ref+"/json", 200, map[string]any{"Id": id, "RepoTags": []string{"app:v1", "app:other"}, "Created": made, "Os": "linux", "Architecture": arch})
	}
	f.handle(saveCall, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "archive of "+id) })
	return f
}

// lacker is an engine that has the image once it was loaded; it notes the archives.
func lacker(t *testing.T) (f *fakeEngine, archives func() []string) {
	t.Helper()
	f = newFakeEngine(t)
	var mu sync.Mutex
	var list []string
	f.on("GET /version", 200, map[string]string{"ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"})
	for _, ref := range []string{"app:v1", "sha256:1", "sha256:2"} {
		f.on("GET /images/"+ref+"/json", 404, "No such image: "+ref)
	}
	f.on("GET /images/app:other/json", 200, map[string]any{"Id": "sha256:9"}) // the name means another image here
	for _, id := range []string{"sha256:1", "sha256:2"} {
		f.handle("POST /images/"+id+"/tag", func(w http.ResponseWriter, r *http.Request) {
			name := strings.TrimPrefix(r.URL.Query().Get("repo"), "docker.io/library/") + ":" + r.URL.Query().Get("tag")
			f.on("GET /images/"+name+"/json", 200, map[string]any{"Id": id, "Os": "linux", "Architecture": "amd64"})
			w.WriteHeader(http.StatusCreated)
		})
	}
	f.handle(pullCall, pullRefused(404, "manifest for app:v1 not found: manifest unknown"))
	f.handle(loadCall, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		mu.Lock()
		list = append(list, string(text))
		mu.Unlock()
		id := string(bytes.TrimPrefix(text, []byte("archive of ")))
		f.on("GET /images/"+id+"/json", 200, map[string]any{"Id": id, "Os": "linux", "Architecture": "amd64"})
		io.WriteString(w, `{"stream":"Loaded"}`)
	})
	return f, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

func together(t *testing.T, engines map[string]*fakeEngine) *Pool {
	t.Helper()
	p := New("f1", discard)
	p.loginFile = ""
	t.Cleanup(func() { p.Close() })
	for name, f := range engines {
		if err := p.Add(fleet.Node{Name: name, Endpoint: "tcp://" + f.Listener.Addr().String()}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestAnImageThatNoRegistryHasIsBroughtFromTheNodeThatHasTheNewest(t *testing.T) {
	to, archives := lacker(t)
	p := together(t, map[string]*fakeEngine{
		"to":    to,
		"old":   holder(t, "sha256:1", "2026-01-01T00:00:00Z", "amd64"),
		"new":   holder(t, "sha256:2", "2026-02-01T00:00:00.5Z", "amd64"),
		"other": holder(t, "sha256:3", "2026-03-01T00:00:00Z", "arm64"), // newer, and of no use here
	})
	if err := p.Images().Check(t.Context(), "to", "app:v1", fleet.PullMissing); err != nil {
		t.Errorf("the check: %v", err)
	}
	wantError(t, p.Images().Check(t.Context(), "to", "app:v1", fleet.PullAlways), fleet.NotFound, "image", "does not give out")
	got, err := p.Images().Ensure(t.Context(), "to", "app:v1", fleet.PullMissing)
	if err != nil || got.ID != "sha256:2" || got.Ref != "app:v1" {
		t.Errorf("got %+v, %v", got, err)
	}
	if list := archives(); len(list) != 1 || list[0] != "archive of sha256:2" {
		t.Errorf("loaded %q", list)
	}
	if again, err := p.Images().Ensure(t.Context(), "to", "app:v1", fleet.PullNever); err != nil || again.ID != "sha256:2" {
		t.Errorf("by its name: %+v, %v", again, err)
	}
	if other, err := p.Images().Ensure(t.Context(), "to", "app:other", fleet.PullNever); err != nil || other.ID != "sha256:9" {
		t.Errorf("the name of another image: %+v, %v", other, err)
	}
	got, err = p.Images().Bring(t.Context(), "to", "sha256:1")
	if err != nil || got.ID != "sha256:1" {
		t.Errorf("by its id: %+v, %v", got, err)
	}
}

func TestAnImageThatNobodyHasIsNotFoundAndThePoliciesThatForbidItBringNothing(t *testing.T) {
	to, archives := lacker(t)
	p := together(t, map[string]*fakeEngine{"to": to, "other": holder(t, "sha256:3", "2026-03-01T00:00:00Z", "arm64")})
	_, err := p.Images().Bring(t.Context(), "to", "app:v1")
	wantError(t, err, fleet.NotFound, "image", "for the platform of node to")
	_, err = p.Images().Ensure(t.Context(), "to", "app:v1", fleet.PullMissing)
	wantError(t, err, fleet.NotFound, "image", "does not give out")
	p.Remove("other")
	if err := p.Add(fleet.Node{Name: "has", Endpoint: "tcp://" + holder(t, "sha256:1", "2026-01-01T00:00:00Z", "amd64").Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []fleet.PullPolicy{fleet.PullAlways, fleet.PullNever} {
		if _, err := p.Images().Ensure(t.Context(), "to", "app:v1", policy); fleet.KindOf(err) != fleet.NotFound {
			t.Errorf("%s: got %v", policy, err)
		}
	}
	if list := archives(); len(list) > 0 {
		t.Errorf("loaded %q", list)
	}
}

func TestAnImageIsBroughtOnceHoweverManyWaitForItAndFlowsThrough(t *testing.T) {
	from := holder(t, "sha256:1", "2026-01-01T00:00:00Z", "amd64")
	to, archives := lacker(t)
	arrived := make(chan struct{})
	from.handle(saveCall, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "archive ")
		w.(http.Flusher).Flush()
		<-arrived // the other engine has the beginning before the end is there
		io.WriteString(w, "of sha256:1")
	})
	load := to.answers[loadCall]
	to.handle(loadCall, func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, len("archive "))
		io.ReadFull(r.Body, first)
		close(arrived)
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(first), r.Body))
		load(w, r)
	})
	p := together(t, map[string]*fakeEngine{"from": from, "to": to})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if got, err := p.Images().Bring(t.Context(), "to", "app:v1"); err != nil || got.ID != "sha256:1" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	all.Wait()
	if list := archives(); len(list) != 1 || from.count(saveCall) != 1 {
		t.Errorf("saved %d times, loaded %q", from.count(saveCall), list)
	}
}

func TestASourceThatBreaksOffLeavesNoTransferBehind(t *testing.T) {
	from := holder(t, "sha256:1", "2026-01-01T00:00:00Z", "amd64")
	to, archives := lacker(t)
	good := from.answers[saveCall]
	from.on(saveCall, 500, "no space left on device")
	p := together(t, map[string]*fakeEngine{"from": from, "to": to})
	_, err := p.Images().Bring(t.Context(), "to", "app:v1")
	wantError(t, err, fleet.Internal, "", "no space left on device")
	from.handle(saveCall, good)
	began := time.Now()
	if _, err := p.Images().Bring(t.Context(), "to", "app:v1"); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
	if list := archives(); len(list) != 1 {
		t.Errorf("loaded %q", list)
	}
}
