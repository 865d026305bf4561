package engine

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"edgespawner/fleet"
)

// saver stores the latest desired state of services off the path of requests.
type saver struct {
	store Services
	log   *slog.Logger

	mu     sync.Mutex
	dirty  map[string]fleet.Desired
	nudge  chan struct{} // capacity 1
	saving sync.Mutex    // held while rows are written, so that a later value is never overtaken
}

func newSaver(store Services, log *slog.Logger) *saver {
	return &saver{store: store, log: log, dirty: map[string]fleet.Desired{}, nudge: make(chan struct{}, 1)}
}

func (s *saver) save(desired fleet.Desired) {
	s.mu.Lock()
	s.dirty[desired.Name] = desired
	s.mu.Unlock()
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// forget drops what is not stored yet of a service: something newer is being stored.
func (s *saver) forget(name string) {
	s.mu.Lock()
	delete(s.dirty, name)
	s.mu.Unlock()
	s.saving.Lock() // wait for a write under way
	defer s.saving.Unlock()
}

func (s *saver) run(ctx context.Context) {
	for {
		select {
		case <-s.nudge:
			s.flush()
		case <-ctx.Done():
			s.flush()
			return
		}
	}
}

func (s *saver) flush() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	batch := s.dirty
	s.dirty = map[string]fleet.Desired{}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(batch)) {
		if err := s.store.Save(ctx, batch[name]); err != nil && fleet.KindOf(err) != fleet.NotFound {
			s.log.Error("Cannot store the desired state", "service", name, "error", err)
		}
	}
}
