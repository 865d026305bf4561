package fleet

import (
	"hash/maphash"
	"time"
)

// LogCursor remembers the lines of logs that were read last, so that whoever
// reads the same logs again goes on without missing a line or taking one twice.
// The zero value has read nothing. Lines come nearly in the order of their
// times: one may be older than one before it by less than overlap.
type LogCursor struct {
	first  time.Time // of the first line that was taken: older ones were left out on purpose
	newest time.Time
	seen   map[logKey]int // how often each of recent stands in it
	recent []logKey       // a ring of the last lines
	next   int            // where in the ring the next one goes
	since  time.Time      // what this reading began with: what is older was read before
	before time.Time      // newest when this reading began
	passed map[logKey]int // how often this reading has met each line that is not newer than that
}

const (
	overlap       = 100 * time.Millisecond
	rememberLines = 256
)

// logKey tells lines apart; pieces of one line share its time.
type logKey struct {
	at      int64
	replica string
	stream  string
	text    uint64
}

var logSeed = maphash.MakeSeed()

// Begin starts another reading, from the returned time on; zero = from the beginning.
func (c *LogCursor) Begin() time.Time {
	c.before, c.passed, c.since = c.newest, map[logKey]int{}, c.begin()
	return c.since
}

func (c *LogCursor) begin() time.Time {
	if c.newest.IsZero() {
		return time.Time{}
	}
	since := c.newest.Add(-overlap)
	if len(c.recent) == rememberLines { // what is older than the ring cannot be told from what is new
		if oldest := time.Unix(0, c.recent[c.next].at+1); oldest.After(since) {
			since = oldest.UTC()
		}
	}
	if c.first.After(since) {
		since = c.first
	}
	return since
}

// Skip lets the readings of a cursor that has read nothing begin at a time.
func (c *LogCursor) Skip(until time.Time) { c.first, c.newest = until, until }

// Take says whether a line is new, and remembers it.
func (c *LogCursor) Take(line LogLine) bool {
	if line.Time.Before(c.since) {
		return false
	}
	key := logKey{line.Time.UnixNano(), line.Replica, line.Stream, maphash.String(logSeed, line.Text)}
	if c.passed != nil && !line.Time.After(c.before) {
		c.passed[key]++
		if c.passed[key] <= c.seen[key] {
			return false
		}
	}
	c.remember(key)
	if c.first.IsZero() {
		c.first = line.Time
	}
	if line.Time.After(c.newest) {
		c.newest = line.Time
	}
	return true
}

func (c *LogCursor) remember(key logKey) {
	if c.seen == nil {
		c.seen = map[logKey]int{}
	}
	c.seen[key]++
	if len(c.recent) < rememberLines {
		c.recent = append(c.recent, key)
		return
	}
	old := c.recent[c.next]
	if c.seen[old]--; c.seen[old] == 0 {
		delete(c.seen, old)
	}
	c.recent[c.next] = key
	c.next = (c.next + 1) % rememberLines
}
