package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

func TestEventsAreKeptByAgeAndByNumberAsConfigured(t *testing.T) {
	for _, test := range []struct {
		name   string
		number int
		age    time.Duration
		want   int // of 40 events, the first 10 of them two days old
	}{
		{"as many as there are", 0, 0, 40},
		{"by age", 0, 24 * time.Hour, 30},
		{"by number", 5, 0, 5},
		{"by both", 35, 24 * time.Hour, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "spawner.db"), slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				events := make([]fleet.Event, 40)
				for i := range events {
					events[i] = fleet.Event{Timestamp: time.Now(), Type: fleet.EventWake}
					if i < 10 {
						events[i].Timestamp = time.Now().Add(-48 * time.Hour)
					}
				}
				if _, err := store.Events().Append(t.Context(), events); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s := &spawner{store: store, log: slog.New(slog.DiscardHandler), config: Config{EventsKeep: test.number, EventsKeepFor: test.age}}
				if err := s.keepHouse(ctx); err != nil {
					t.Error(err)
				}
				left, err := store.Events().List(t.Context(), fleet.EventFilter{})
				if err != nil || len(left) != test.want {
					t.Errorf("%d events are kept, want %d; %v", len(left), test.want, err)
				}
			})
		})
	}
}
