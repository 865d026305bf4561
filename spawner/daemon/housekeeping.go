package daemon

import (
	"context"
	"time"
)

// housekeeping periods and what is kept.
const (
	housePeriod = 10 * time.Minute
	keepJobsFor = 30 * 24 * time.Hour
	keepJobs    = 10_000
)

// keepHouse forgets old events and jobs.
func (s *spawner) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(housePeriod)
	defer tick.Stop()
	for {
		var oldest time.Time // of an event that is kept; zero = whatever its age
		if keep := s.config.EventsKeepFor; keep > 0 {
			oldest = time.Now().Add(-keep)
		}
		if _, err := s.store.Events().Prune(ctx, oldest, s.config.EventsKeep); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old events", "error", err)
		}
		if _, err := s.store.Jobs().Prune(ctx, time.Now().Add(-keepJobsFor), keepJobs); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old jobs", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
