package daemon

import (
	"context"
	"time"
)

// housekeeping periods and what is kept.
const (
	housePeriod = time.Hour
	keepFor     = 30 * 24 * time.Hour
	keepEvents  = 100_000
	keepJobs    = 10_000
)

// keepHouse forgets old events and jobs.
func (s *spawner) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(housePeriod)
	defer tick.Stop()
	for {
		before := time.Now().Add(-keepFor)
		if _, err := s.store.Events().Prune(ctx, before, keepEvents); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old events", "error", err)
		}
		if _, err := s.store.Jobs().Prune(ctx, before, keepJobs); err != nil && ctx.Err() == nil {
			s.log.Error("Cannot forget old jobs", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
