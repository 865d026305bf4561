//go:build e2e

package docker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// next returns the next notice that passes.
func next(t *testing.T, notices <-chan fleet.Notice, passes func(fleet.Notice) bool) fleet.Notice {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case n, ok := <-notices:
			if !ok {
				t.Fatal("the watch has ended")
			}
			if passes(n) {
				return n
			}
		case <-deadline:
			t.Fatal("no such notice")
		}
	}
}

func of(action fleet.NoticeAction) func(fleet.Notice) bool {
	return func(n fleet.Notice) bool { return n.Action == action }
}

func TestAWatchTellsWhatHappensToTheFleetsContainers(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	notices := r.pool.Watcher().Watch(ctx, testNode)
	next(t, notices, of(fleet.NoticeConnected))
	sandbox := r.sandbox("dk-e2e-watch", 20)
	app := r.app("dk-e2e-watch", sandbox, map[string]fleet.Secret{"IDLE": "0", "CRASH_AFTER": "8s"})
	ours := func(action fleet.NoticeAction) fleet.Notice {
		t.Helper()
		return next(t, notices, func(n fleet.Notice) bool { return n.ID == app && n.Action == action })
	}
	r.start(app)
	want := map[string]string{
		fleet.LabelRole: "app", fleet.LabelService: "dk-e2e-watch", fleet.LabelFleet: testFleet, fleet.LabelOrigin: fleet.OriginSpawner,
	}
	if diff := cmp.Diff(want, ours(fleet.NoticeStarted).Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	r.pool.Freezer().Pause(ctx, testNode, app)
	ours(fleet.NoticePaused)
	r.pool.Freezer().Unpause(ctx, testNode, app)
	ours(fleet.NoticeUnpaused)
	died := ours(fleet.NoticeDied)
	t.Logf("the death was known after %s", time.Since(died.Time))
	if died.Exit != 1 {
		t.Errorf("it exited with %d, want 1", died.Exit)
	}
	r.pool.Containers().Remove(ctx, testNode, app)
	ours(fleet.NoticeRemoved)
	cancel()
	for range notices {
	}
}

func TestAWatchTellsHealth(t *testing.T) {
	r := newRig(t)
	n, err := r.pool.engine(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	changes := []string{`ENTRYPOINT ["/app"]`, `HEALTHCHECK --interval=5s --timeout=5s --retries=2 CMD ["/app","health"]`, `EXPOSE 9000 80/udp 443/tcp`}
	answer, err := n.client.ImageImport(t.Context(), image.ImportSource{Source: rootfs("app"), SourceName: "-"}, checkedImage, image.ImportOptions{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	if err := readProgress(answer, func() {}); err != nil {
		t.Fatal(err)
	}
	made, err := r.pool.Images().Ensure(t.Context(), testNode, checkedImage, fleet.PullMissing)
	if err != nil {
		t.Fatal(err)
	}
	want := &fleet.ImageCheck{Command: []string{"/app", "health"}, Interval: 5 * time.Second, Timeout: 5 * time.Second, Retries: 2}
	if diff := cmp.Diff(want, made.Check); diff != "" {
		t.Errorf("HEALTHCHECK (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{443, 9000}, made.Ports); diff != "" {
		t.Errorf("EXPOSE (-want +got):\n%s", diff)
	}
	notices := r.pool.Watcher().Watch(t.Context(), testNode)
	next(t, notices, of(fleet.NoticeConnected))
	sandbox := r.sandbox("dk-e2e-health", 21)
	app := r.create(fleet.ContainerConfig{Name: "dk-e2e-health", Image: made.ID, SandboxID: sandbox, Env: map[string]fleet.Secret{"IDLE": "0"}})
	r.start(app)
	if got := r.inspect(app).Health; got != fleet.Starting {
		t.Errorf("health after the start is %s, want starting", got)
	}
	if got := next(t, notices, of(fleet.NoticeHealth)); got.ID != app || got.Health != fleet.Healthy {
		t.Errorf("got %+v", got)
	}
	list, err := r.pool.Containers().List(t.Context(), testNode)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.ID == app && c.Health != fleet.Healthy || c.ID == sandbox && c.Health != fleet.Unknown {
			t.Errorf("%s is told as %s", c.Name, c.Health)
		}
	}
}

func TestAWatchThatIsCutIsMadeAgain(t *testing.T) {
	r := newRig(t)
	p := newProxy(t)
	notices := p.pool(t).Watcher().Watch(t.Context(), testNode)
	next(t, notices, of(fleet.NoticeConnected))
	began := time.Now()
	p.cut()
	if lost := next(t, notices, of(fleet.NoticeLost)); lost.Err == nil || fleet.KindOf(lost.Err) != fleet.Unavailable {
		t.Errorf("lost by %v", lost.Err)
	}
	next(t, notices, of(fleet.NoticeConnected))
	t.Logf("connected again after %s", time.Since(began))
	sandbox := r.sandbox("dk-e2e-again", 22)
	next(t, notices, func(n fleet.Notice) bool { return n.ID == sandbox && n.Action == fleet.NoticeStarted })
}

func TestAFrozenEngineIsNoticedByPings(t *testing.T) {
	newRig(t)
	p := newProxy(t)
	notices := p.pool(t).Watcher().Watch(t.Context(), testNode)
	next(t, notices, of(fleet.NoticeConnected))
	began := time.Now()
	p.gate.Lock()
	lost := next(t, notices, of(fleet.NoticeLost))
	p.gate.Unlock()
	t.Logf("lost after %s: %v", time.Since(began), lost.Err)
	if !errors.Is(lost.Err, errNoAnswer) || time.Since(began) > 8*time.Second {
		t.Errorf("lost by %v after %s", lost.Err, time.Since(began))
	}
	next(t, notices, of(fleet.NoticeConnected))
}

func TestLogsAreToldLineByLine(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("x", 50_000)
	sandbox := r.sandbox("dk-e2e-logs", 23)
	app := r.app("dk-e2e-logs", sandbox, map[string]fleet.Secret{"IDLE": "soon", "CONNSTR": fleet.Secret(long)})
	r.start(app) // ends at once and says why
	for r.inspect(app).Status != fleet.ContainerExited {
		pauseFor(t.Context(), 5*time.Millisecond)
	}
	read := func(o fleet.LogOptions) (lines []fleet.LogLine) {
		t.Helper()
		err := r.pool.Shell().Logs(t.Context(), testNode, app, o, func(l fleet.LogLine) error { lines = append(lines, l); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	lines := read(fleet.LogOptions{Tail: -1})
	if len(lines) != 1 || lines[0].Stream != "stdout" || !strings.Contains(lines[0].Text, `IDLE=`) || time.Since(lines[0].Time) > time.Minute {
		t.Errorf("got %+v", lines)
	}
	if lines := read(fleet.LogOptions{Tail: -1, Since: time.Now().Add(time.Hour)}); len(lines) != 0 {
		t.Errorf("since a later time: %+v", lines)
	}
	if lines := read(fleet.LogOptions{Tail: 0}); len(lines) != 0 {
		t.Errorf("tail 0: %+v", lines)
	}

	talker := r.app("dk-e2e-talk", sandbox, map[string]fleet.Secret{"IDLE": "0", "VERSION": fleet.Secret(long)})
	r.start(talker) // says its version in one long line
	stop := errors.New("enough")
	err := r.pool.Shell().Logs(t.Context(), testNode, talker, fleet.LogOptions{Tail: -1, Follow: true}, func(l fleet.LogLine) error {
		if !strings.HasSuffix(l.Text, "version="+long) {
			t.Errorf("a long line of %d bytes was cut or mixed", len(l.Text))
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the reader's own error", err)
	}
	following, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = r.pool.Shell().Logs(following, testNode, talker, fleet.LogOptions{Tail: 0, Follow: true}, func(fleet.LogLine) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("following ended with %v", err)
	}
	err = r.pool.Shell().Logs(t.Context(), testNode, "dk-e2e-nobody", fleet.LogOptions{}, nil)
	r.want("logs of one that is not there", err, fleet.NotFound, "")
}
