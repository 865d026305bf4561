package daemon

import (
	"context"
	"log/slog"
	"testing"
)

func TestAStateDirectoryBelongsToOneSpawnerAtATime(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	first, err := claimState(t.Context(), dir, log)
	if err != nil || first == nil {
		t.Fatalf("the first got %v, %v", first, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if claim, err := claimState(ended, dir, log); claim != nil || err != nil {
		t.Errorf("one whose time ended got %v, %v", claim, err)
	}
	type outcome struct {
		err  error
		held bool
	}
	waiting := make(chan outcome, 1)
	go func() {
		claim, err := claimState(t.Context(), dir, log)
		waiting <- outcome{err, claim != nil}
		if claim != nil {
			claim.Close()
		}
	}()
	select {
	case got := <-waiting:
		t.Fatalf("the second got %+v beside the first", got)
	default:
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-waiting; got.err != nil || !got.held {
		t.Errorf("after the first the second got %+v", got)
	}
}
