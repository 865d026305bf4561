package stand

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// shownFailures is how many failed requests a report shows one by one.
const shownFailures = 10

// outcome is how one request of a load ended.
type outcome struct {
	method     string
	id         string
	began      time.Time
	took       time.Duration
	status     int // 0 = no answer
	retryAfter string
	err        error
}

func (o outcome) String() string {
	if o.err != nil {
		return fmt.Sprintf("%s %s after %v: %v", o.began.Format("15:04:05.000"), o.method, o.took.Round(time.Millisecond), o.err)
	}
	return fmt.Sprintf("%s %s after %v: status %d", o.began.Format("15:04:05.000"), o.method, o.took.Round(time.Millisecond), o.status)
}

// Report accounts for the requests of a load. An error is a reset, a timeout or
// a status that the app did not send: the app of a load answers 200.
type Report struct {
	Requests int
	Good     int
	Errors   int
	// FailedPosts are those of the Errors that were POSTs.
	FailedPosts int
	// Refused are POSTs that got 503 with Retry-After: the honest answer to one
	// that may have been in flight when the app was killed.
	Refused int
	// Twice and Lost are ids that the app counted more than once, and ids that
	// were acknowledged without the app having counted them.
	Twice []string
	Lost  []string

	Failures     []string        // the first failed requests, one by one
	acknowledged []string        // ids
	times        []time.Duration // of the good ones
	ends         []time.Duration // of all, however they ended
}

func (r *Report) add(o outcome) {
	r.Requests++
	r.ends = append(r.ends, o.took)
	switch {
	case o.err == nil && o.status == http.StatusOK:
		r.Good++
		r.times = append(r.times, o.took)
		if o.id != "" {
			r.acknowledged = append(r.acknowledged, o.id)
		}
	case o.err == nil && o.id != "" && o.status == http.StatusServiceUnavailable && o.retryAfter != "":
		r.Refused++
	default:
		r.Errors++
		if o.id != "" {
			r.FailedPosts++
		}
		if len(r.Failures) < shownFailures {
			r.Failures = append(r.Failures, o.String())
		}
	}
}

// compare looks up what the app has executed.
func (r *Report) compare(c *Collector) {
	counts := c.Counts()
	for _, id := range r.acknowledged {
		if counts[id] == 0 {
			r.Lost = append(r.Lost, id)
		}
	}
	for id, count := range counts {
		if count > 1 {
			r.Twice = append(r.Twice, id)
		}
	}
	slices.Sort(r.Twice)
}

// Percentile returns the time within which that share of the good answers came, p from 0 to 1.
func (r Report) Percentile(p float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	times := slices.Clone(r.times)
	slices.Sort(times)
	return times[min(int(p*float64(len(times))), len(times)-1)]
}

// LongerThan counts the requests that took longer than that, however they ended.
func (r Report) LongerThan(limit time.Duration) int {
	count := 0
	for _, took := range r.ends {
		if took > limit {
			count++
		}
	}
	return count
}

// Longest is the time of the request that took longest, however it ended.
func (r Report) Longest() time.Duration {
	if len(r.ends) == 0 {
		return 0
	}
	return slices.Max(r.ends)
}

func (r Report) String() string {
	return fmt.Sprintf("%d requests, %d good, %d errors, %d refused, %d twice, %d lost; p50 %v, p99 %v, max %v",
		r.Requests, r.Good, r.Errors, r.Refused, len(r.Twice), len(r.Lost),
		r.Percentile(0.5).Round(100*time.Microsecond), r.Percentile(0.99).Round(100*time.Microsecond), r.Percentile(1).Round(100*time.Microsecond))
}

// MustBeClean fails the test unless every request was answered well and every
// acknowledged id was executed exactly once.
func (r Report) MustBeClean(t T) {
	t.Helper()
	r.mustBeGood(t)
	if r.Refused > 0 {
		t.Fatalf("%d POSTs were refused: %s", r.Refused, r)
	}
}

// MustBeCleanButRefused is MustBeClean where an app is killed: POSTs that were
// in flight may have been refused.
func (r Report) MustBeCleanButRefused(t T) {
	t.Helper()
	r.mustBeGood(t)
}

func (r Report) mustBeGood(t T) {
	t.Helper()
	if r.Requests == 0 {
		t.Fatalf("no request was sent")
	}
	if r.Errors > 0 {
		t.Fatalf("%s\n%s", r, strings.Join(r.Failures, "\n"))
	}
	r.MustHaveRunOnce(t)
}

// MustHaveRunOnce fails if the app executed a POST twice, or has lost one that it acknowledged.
func (r Report) MustHaveRunOnce(t T) {
	t.Helper()
	if len(r.Twice)+len(r.Lost) > 0 {
		t.Fatalf("%s\nexecuted twice: %v\nacknowledged and lost: %v", r, r.Twice, r.Lost)
	}
}
