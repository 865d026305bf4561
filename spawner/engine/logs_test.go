package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

// logBox is a container as far as its logs go.
type logBox struct {
	source logSource
	lines  []fleet.LogLine
	broken error
}

// logWorld is the containers of a service, and an engine that reads their logs.
type logWorld struct {
	mu      sync.Mutex
	boxes   []*logBox
	changed chan struct{} // closed and made anew with each change
	read    int           // lines that were handed to readers
	calls   int
}

func newLogWorld() *logWorld { return &logWorld{changed: make(chan struct{})} }

func (w *logWorld) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *logWorld) add(id, replica string) *logBox {
	box := &logBox{source: logSource{node: "n1", id: id, replica: replica, runs: true, life: time.Now()}}
	w.change(func() { w.boxes = append(w.boxes, box) })
	return box
}

func (w *logWorld) say(box *logBox, at time.Time, text string) {
	w.change(func() { box.lines = append(box.lines, fleet.LogLine{Time: at, Stream: "stdout", Text: text}) })
}

func (w *logWorld) sources(context.Context) (list []logSource, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, box := range w.boxes {
		list = append(list, box.source)
	}
	return list, nil
}

func (w *logWorld) callsSoFar() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

// logs reads a container as Docker does.
func (w *logWorld) logs(ctx context.Context, _, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	w.mu.Lock()
	w.calls++
	w.mu.Unlock()
	for next := -1; ; {
		w.mu.Lock()
		at := slices.IndexFunc(w.boxes, func(box *logBox) bool { return box.source.id == id })
		if at < 0 {
			w.mu.Unlock()
			return gone(id)
		}
		box, changed := w.boxes[at], w.changed
		if next < 0 {
			next = 0
			if o.Tail >= 0 {
				next = max(0, len(box.lines)-o.Tail)
			}
		}
		lines, runs, broken := slices.Clone(box.lines[next:]), box.source.runs, box.broken
		w.mu.Unlock()
		if broken != nil {
			return broken
		}
		next += len(lines)
		for _, l := range lines {
			if l.Time.Before(o.Since) {
				continue
			}
			w.mu.Lock()
			w.read++
			w.mu.Unlock()
			if err := line(l); err != nil {
				return err
			}
		}
		if !o.Follow || !runs && len(lines) == 0 {
			return nil
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *logWorld) reader(o fleet.LogOptions, tell func(fleet.LogLine) error) *logReader {
	return &logReader{read: w.logs, sources: w.sources, options: o, tell: tell, log: slog.New(slog.DiscardHandler), cursors: map[string]*fleet.LogCursor{}}
}

// past returns what is told without following.
func (w *logWorld) past(t *testing.T, o fleet.LogOptions) (told []string, err error) {
	t.Helper()
	r := w.reader(o, func(l fleet.LogLine) error { told = append(told, l.Replica+" "+l.Text); return nil })
	sources, _ := w.sources(t.Context())
	err = r.tellPast(t.Context(), sources)
	return told, err
}

func TestTheLinesOfAllReplicasAreToldInTheOrderOfTheirTimes(t *testing.T) {
	began := time.Date(2024, 1, 15, 10, 0, 0, 0, time.UTC)
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newLogWorld()
		type told struct {
			at   time.Time
			text string
		}
		var want []told
		for i := range 1 + random.IntN(4) {
			box := w.add(fmt.Sprint("c", i), fmt.Sprint("api-", i))
			at := began
			for n := range random.IntN(30) {
				at = at.Add(time.Duration(1+random.IntN(3)) * time.Second) // often the same as that of another replica's
				w.say(box, at, fmt.Sprint(n))
				want = append(want, told{at, fmt.Sprintf("api-%d %d", i, n)})
			}
		}
		slices.SortStableFunc(want, func(x, y told) int { return x.at.Compare(y.at) })
		tail := random.IntN(40) - 1
		if tail >= 0 && len(want) > tail {
			want = want[len(want)-tail:]
		}
		var texts []string
		for _, l := range want {
			texts = append(texts, l.text)
		}
		got, err := w.past(t, fleet.LogOptions{Tail: tail})
		if diff := cmp.Diff(texts, got); diff != "" || err != nil {
			t.Fatalf("seed %d, tail %d: %v %s", seed, tail, err, diff)
		}
	}
}

func TestAReplicaThatCannotBeReadDoesNotKeepBackTheOthers(t *testing.T) {
	w := newLogWorld()
	w.add("c0", "api-0").broken = fleet.Errorf(fleet.Unavailable, "node n1 is silent")
	for i := range 5 {
		w.say(w.add(fmt.Sprint("d", i), "api-1"), time.Unix(int64(i), 0), fmt.Sprint(i))
	}
	for _, tail := range []int{-1, 5} {
		got, err := w.past(t, fleet.LogOptions{Tail: tail})
		if strings.Join(got, ",") != "api-1 0,api-1 1,api-1 2,api-1 3,api-1 4" || fleet.KindOf(err) != fleet.Unavailable || !strings.Contains(err.Error(), "the logs of api-0") {
			t.Errorf("tail %d: told %v, %v", tail, got, err)
		}
	}
}

// following follows a world in a bubble of its own time; told returns what it was told so far.
func following(t *testing.T, o fleet.LogOptions, prepare func(w *logWorld), test func(w *logWorld, told func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newLogWorld()
		prepare(w)
		var mu sync.Mutex
		var lines []string
		r := w.reader(o, func(l fleet.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l.Text)
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		sources, _ := w.sources(ctx)
		go func() { ended <- errors.Join(r.tellPast(ctx, sources), r.follow(ctx, sources)) }()
		test(w, func() []string {
			time.Sleep(5 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(lines)
		})
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func wantTold(t *testing.T, told func() []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told()); diff != "" {
		t.Error(diff)
	}
}

func TestAFollowerIsToldThePastInOrderAndThenEachLineOnce(t *testing.T) {
	var one, two *logBox
	following(t, fleet.LogOptions{Tail: 3, Follow: true}, func(w *logWorld) {
		one, two = w.add("c0", "api-0"), w.add("c1", "api-1")
		w.say(one, time.Now(), "a")
		w.say(one, time.Now().Add(time.Millisecond), "b")
		w.say(two, time.Now().Add(2*time.Millisecond), "c")
		w.say(one, time.Now().Add(3*time.Millisecond), "d")
	}, func(w *logWorld, told func() []string) {
		wantTold(t, told, "b", "c", "d")
		now := time.Now()
		w.say(two, now.Add(time.Millisecond), "f")
		w.say(one, now, "e") // written later, and older
		wantTold(t, told, "b", "c", "d", "e", "f")
	})
}

func TestAReplicaThatEndsOrJoinsIsFollowedWithoutALineLostOrDoubled(t *testing.T) {
	var box *logBox
	following(t, fleet.LogOptions{Tail: 0, Follow: true}, func(w *logWorld) {
		box = w.add("c0", "api-0")
		for i := range 5 {
			w.say(box, time.Now().Add(time.Duration(i)*time.Millisecond), "old")
		}
		w.add("asleep", "api-9").source.runs = false
	}, func(w *logWorld, told func() []string) {
		wantTold(t, told)
		calls := w.callsSoFar()
		time.Sleep(time.Minute)
		if now := w.callsSoFar(); now != calls {
			t.Errorf("%d calls to the engine while nothing changes", now-calls)
		}
		w.say(box, time.Now(), "last words")
		w.change(func() { box.source.runs = false })
		time.Sleep(100 * time.Millisecond)
		w.change(func() { box.source.runs, box.source.life = true, time.Now() })
		w.say(box, time.Now(), "again")
		wantTold(t, told, "last words", "again")
		fresh := w.add("c1", "api-0") // in the place of the old one, which says goodbye
		w.say(fresh, time.Now(), "hello")
		w.say(box, time.Now().Add(time.Millisecond), "goodbye")
		time.Sleep(time.Second)
		w.change(func() { w.boxes = slices.DeleteFunc(w.boxes, func(b *logBox) bool { return b == box }) })
		w.say(fresh, time.Now(), "alone")
		got := told()
		if slices.Sort(got[2:4]); cmp.Diff([]string{"last words", "again", "goodbye", "hello", "alone"}, got) != "" {
			t.Errorf("told %v", got)
		}
		short := w.add("c2", "api-1") // lives and dies between two looks
		w.say(short, time.Now(), "crashed")
		w.change(func() { short.source.runs = false })
		if got := told(); got[len(got)-1] != "crashed" || len(got) != 6 {
			t.Errorf("told %v", got)
		}
	})
}

func TestLogsThatBreakOffAreFollowedAgainAndThatIsSaidOnce(t *testing.T) {
	var box *logBox
	following(t, fleet.LogOptions{Tail: -1, Follow: true}, func(w *logWorld) {
		box = w.add("c0", "api-0")
		w.say(box, time.Now(), "one")
	}, func(w *logWorld, told func() []string) {
		wantTold(t, told, "one")
		w.change(func() { box.broken = fleet.Errorf(fleet.Unavailable, "node n1 is silent") })
		time.Sleep(time.Minute)
		w.change(func() { box.broken = nil })
		w.say(box, time.Now(), "two")
		wantTold(t, told, "one", "cannot read the logs of api-0: node n1 is silent; trying again", "two")
		w.change(func() { box.broken, box.source.runs = fleet.Errorf(fleet.Unavailable, "node n1 is silent"), false }) // it ended meanwhile
		w.say(box, time.Now(), "three")
		time.Sleep(time.Minute)
		w.change(func() { box.broken = nil })
		if got := told(); got[len(got)-1] != "three" || len(got) != 5 {
			t.Errorf("told %v", got)
		}
	})
}

func TestASlowReaderOfLogsIsReadAheadForOnlyALittle(t *testing.T) {
	for _, follow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newLogWorld()
			const boxes = 8
			for i := range boxes {
				box := w.add(fmt.Sprint("c", i), fmt.Sprint("api-", i))
				if !follow {
					for n := range 10_000 {
						box.lines = append(box.lines, fleet.LogLine{Time: time.Unix(int64(n), 0), Text: "x"})
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			r := w.reader(fleet.LogOptions{Tail: -1, Follow: follow}, func(fleet.LogLine) error { <-ctx.Done(); return ctx.Err() })
			sources, _ := w.sources(ctx)
			ended := make(chan error)
			go func() { ended <- errors.Join(r.tellPast(ctx, sources), r.follow(ctx, sources)) }()
			if follow {
				time.Sleep(time.Second)
				for i := range boxes {
					w.change(func() {
						for n := range 10_000 {
							w.boxes[i].lines = append(w.boxes[i].lines, fleet.LogLine{Time: time.Now().Add(time.Duration(n)), Text: "x"})
						}
					})
				}
			}
			time.Sleep(time.Hour)
			w.mu.Lock()
			if most := 2*mergeWindow + 2*boxes; w.read > most || w.read == 0 {
				t.Errorf("following %v: %d lines are read ahead, want at most %d", follow, w.read, most)
			}
			w.mu.Unlock()
			cancel()
			<-ended
		})
	}
}
