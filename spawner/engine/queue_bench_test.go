package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"edgespawner/fleet"
)

// BenchmarkJobsThroughTheQueue measures jobs from their acceptance to their end,
// with the real store on the disk and an engine of containers in memory. They are
// scales that change nothing, of as many services as there are workers, so what
// is measured is the queue: accepted, stored, run step by step, confirmed by an
// edge within a millisecond, ended.
func BenchmarkJobsThroughTheQueue(b *testing.B) {
	w := newWorld(b)
	w.start()
	defer w.end()
	names := make([]string, w.config.Workers)
	for n := range names {
		names[n] = fmt.Sprintf("web%d", n)
		w.deployed(w.spec(names[n], "app:1", 1))
	}
	ask := make(chan string)
	failed := make(chan error, len(names))
	for range names {
		go func() {
			for name := range ask {
				if err := w.scaleToOne(name); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	b.ResetTimer()
	began := time.Now()
	for n := range b.N {
		ask <- names[n%len(names)]
	}
	close(ask)
	for range names {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "jobs/s")
}

func (w *world) scaleToOne(name string) error {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	accepted, err := w.engine().Scale(ctx, name, 1, "tester")
	if err != nil {
		return err
	}
	job, err := w.engine().WaitJob(ctx, accepted.JobID)
	if err == nil && job.State != fleet.JobSucceeded {
		err = fmt.Errorf("%s: %s", job.State, job.Error)
	}
	return err
}
