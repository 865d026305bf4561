package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// reading is the lines from a time on, as an engine gives them.
func reading(lines []LogLine, since time.Time) []LogLine {
	return slices.DeleteFunc(slices.Clone(lines), func(l LogLine) bool { return l.Time.Before(since) })
}

func TestLogsThatAreReadAgainAndAgainLoseNoLineAndDoubleNone(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		var lines, taken []LogLine
		var cursor LogCursor
		at := time.Unix(1_700_000_000, 0)
		for range 1 + random.IntN(8) {
			for range random.IntN(400) {
				at = at.Add(time.Duration(random.IntN(4)) * time.Millisecond)
				written := at.Add(-time.Duration(random.IntN(5)) * time.Microsecond) // the two streams overtake each other
				lines = append(lines, LogLine{Time: written, Stream: "stdout", Text: fmt.Sprint(random.IntN(3))})
			}
			for _, l := range reading(lines, cursor.Begin()) {
				if cursor.Take(l) {
					taken = append(taken, l)
				}
			}
		}
		if !slices.Equal(lines, taken) {
			t.Fatalf("seed %d: %d lines were written and %d taken", seed, len(lines), len(taken))
		}
	}
}

func TestACursorDoesNotGoBackBehindItsFirstLine(t *testing.T) {
	var cursor LogCursor
	at := time.Unix(1_700_000_000, 0)
	cursor.Take(LogLine{Time: at, Text: "the last of many"})
	if since := cursor.Begin(); !since.Equal(at) {
		t.Errorf("begins at %s, want %s", since, at)
	}
	cursor = LogCursor{}
	if since := cursor.Begin(); !since.IsZero() {
		t.Errorf("a new one begins at %s", since)
	}
	cursor.Skip(at)
	if since := cursor.Begin(); !since.Equal(at) {
		t.Errorf("begins at %s, want %s", since, at)
	}
}

func TestACursorRemembersOnlyALittle(t *testing.T) {
	var cursor LogCursor
	for i := range 100_000 {
		cursor.Take(LogLine{Time: time.Unix(0, int64(i)), Text: fmt.Sprint(i)})
	}
	if len(cursor.seen) > rememberLines || len(cursor.recent) > rememberLines {
		t.Errorf("remembers %d and %d lines", len(cursor.seen), len(cursor.recent))
	}
}
