package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/pkg/stdcopy"
	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// frame writes one piece of a container's output as an engine does.
func frame(w http.ResponseWriter, kind stdcopy.StdType, text string) {
	stdcopy.NewStdWriter(w, kind).Write([]byte(text))
}

func TestLinesAreMadeOfTheirPieces(t *testing.T) {
	const at, later = "2026-01-02T03:04:05.000000006Z", "2026-01-02T03:04:06Z"
	f := newFakeEngine(t)
	f.handle("GET /containers/0a/logs", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("tail") != "7" || r.URL.Query().Get("since") != "12.000000034" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		frame(w, stdcopy.Stdout, at+" one\n")
		frame(w, stdcopy.Stdout, at+" tw")
		frame(w, stdcopy.Stderr, later+" between\r\n")
		frame(w, stdcopy.Stdout, later+" o\n")
		frame(w, stdcopy.Stdout, at+" \n")
		frame(w, stdcopy.Stdout, at+" a 2026-01-02T03:04:05Z in the text\n")
		frame(w, stdcopy.Stdout, at+" cut off")
	})
	var got []fleet.LogLine
	err := f.pool(t).Shell().Logs(t.Context(), "local", "0a", fleet.LogOptions{Tail: 7, Since: time.Unix(12, 34)}, func(l fleet.LogLine) error { got = append(got, l); return nil })
	if err != nil {
		t.Fatal(err)
	}
	first, second := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	want := []fleet.LogLine{
		{Time: first, Stream: "stdout", Text: "one"},
		{Time: second, Stream: "stderr", Text: "between"},
		{Time: first, Stream: "stdout", Text: "two"},
		{Time: first, Stream: "stdout", Text: ""},
		{Time: first, Stream: "stdout", Text: "a 2026-01-02T03:04:05Z in the text"},
		{Time: first, Stream: "stdout", Text: "cut off"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestALineWithoutAnEndIsToldInPieces(t *testing.T) {
	var sizes []int
	l := &lines{stream: "stdout", tell: func(line fleet.LogLine) error { sizes = append(sizes, len(line.Text)); return nil }}
	piece := []byte("2026-01-02T03:04:05Z " + strings.Repeat("x", 16<<10))
	for range 2 * lineLimit / (16 << 10) {
		if _, err := l.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{lineLimit, lineLimit}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestOutputAndExitCodeOfACommand(t *testing.T) {
	f := newFakeEngine(t)
	f.on("POST /containers/0a/exec", 201, map[string]any{"Id": "0e"})
	f.handle("POST /exec/0e/start", func(w http.ResponseWriter, _ *http.Request) {
		frame(w, stdcopy.Stdout, "out ")
		frame(w, stdcopy.Stderr, strings.Repeat("e", outputLimit))
	})
	looks := 0
	f.handle("GET /exec/0e/json", func(w http.ResponseWriter, _ *http.Request) {
		looks++
		json.NewEncoder(w).Encode(map[string]any{"ID": "0e", "Running": looks < 3, "ExitCode": 7})
	})
	got, err := f.pool(t).Shell().Exec(t.Context(), "local", "0a", []string{"x"})
	if err != nil || got.ExitCode != 7 || len(got.Output) != outputLimit || !strings.HasPrefix(string(got.Output), "out eee") {
		t.Errorf("exit %d, %d bytes, %v", got.ExitCode, len(got.Output), err)
	}
	f.on("POST /exec/0e/start", 409, "Container 0a is paused, unpause the container before exec")
	_, err = f.pool(t).Shell().Exec(t.Context(), "local", "0a", []string{"x"})
	wantError(t, err, fleet.Conflict, "", "is paused")
}

func TestACommandOnAFrozenEngineEndsWithItsContext(t *testing.T) {
	f := newFakeEngine(t)
	f.on("POST /containers/0a/exec", 201, map[string]any{"Id": "0e"})
	f.handle("POST /exec/0e/start", never)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.pool(t).Shell().Exec(ctx, "local", "0a", []string{"x"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAWatchBeginsEndsAndBeginsAgain(t *testing.T) {
	f := newFakeEngine(t)
	f.handle("GET /events", func(w http.ResponseWriter, r *http.Request) {
		var filter map[string]map[string]bool
		if json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filter) != nil || !filter["label"]["spawner.fleet=f1"] || !filter["type"]["container"] || r.URL.Query().Has("since") {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		event := func(action string, attributes string) {
			fmt.Fprintf(w, `{"Type":"container","Action":%q,"Actor":{"ID":"0a","Attributes":{"image":"i","name":"web-0","spawner.service":"web"%s}},"timeNano":5}`+"\n", action, attributes)
		}
		event("exec_create: x", "")
		event("start", "")
		event("health_status: unhealthy", "")
		event("update", `,"spawner.role":"lease"`)
		event("die", `,"exitCode":"137"`)
		http.NewResponseController(w).Flush()
	})
	ctx, cancel := context.WithCancel(t.Context())
	notices := f.pool(t).Watcher().Watch(ctx, "local")
	labels := map[string]string{"spawner.service": "web"}
	at := time.Unix(0, 5).UTC()
	want := []fleet.Notice{
		{Node: "local", Action: fleet.NoticeConnected},
		{Node: "local", Action: fleet.NoticeStarted, Time: at, ID: "0a", Labels: labels},
		{Node: "local", Action: fleet.NoticeHealth, Time: at, ID: "0a", Labels: labels, Health: fleet.Unhealthy},
		{Node: "local", Action: fleet.NoticeDied, Time: at, ID: "0a", Labels: labels, Exit: 137},
		{Node: "local", Action: fleet.NoticeLost},
	}
	for range 2 {
		for _, w := range want {
			got := <-notices
			if w.Time.IsZero() {
				got.Time = w.Time
			}
			if w.Action == fleet.NoticeLost {
				wantError(t, got.Err, fleet.Unavailable, "", "does not answer")
				got.Err = nil
			}
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("notice (-want +got):\n%s", diff)
			}
		}
	}
	cancel()
	for range notices { // closes
	}
}

func TestAnEngineThatIsDownFromTheStartIsLostOnce(t *testing.T) {
	p := New("f1", discard)
	defer p.Close()
	if err := p.Add(fleet.Node{Name: "local", Endpoint: "unix://" + t.TempDir() + "/none.sock"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	var got []fleet.NoticeAction
	for notice := range p.Watcher().Watch(ctx, "local") {
		got = append(got, notice.Action)
	}
	if diff := cmp.Diff([]fleet.NoticeAction{fleet.NoticeLost}, got); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}
