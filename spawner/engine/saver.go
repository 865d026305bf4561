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
	poke(s.nudge)
}

// forget drops what is not stored yet of a service: something newer is being stored.
func (s *saver) forget(name string) {
	s.saving.Lock() // wait for a write under way
	defer s.saving.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dirty, name)
}

func (s *saver) run(ctx context.Context) { flushWhenNudged(ctx, s.nudge, 0, s.flush) }

// flush stores what has changed; false = some of it has not been stored yet.
func (s *saver) flush() (all bool) {
	all = true
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
			s.again(batch[name])
			all = false
		}
	}
	return all
}

// again keeps what could not be stored for the next attempt, unless it has changed since.
func (s *saver) again(desired fleet.Desired) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.dirty[desired.Name]; !newer {
		s.dirty[desired.Name] = desired
	}
}
