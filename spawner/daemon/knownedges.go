package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// knownEdges remembers the names of edges across restarts.
type knownEdges struct {
	settings settings
	log      *slog.Logger

	mu    sync.Mutex
	names []string
}

const knownEdgesKey = "known-edges"

func (k *knownEdges) load(ctx context.Context) ([]string, error) {
	stored, known, err := k.settings.Get(ctx, knownEdgesKey)
	if err != nil || !known {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := json.Unmarshal([]byte(stored), &k.names); err != nil {
		return nil, fmt.Errorf("cannot read the stored names of edges: %w", err)
	}
	return slices.Clone(k.names), nil
}

func (k *knownEdges) add(name string) {
	k.change(func(names []string) []string {
		if slices.Contains(names, name) {
			return names
		}
		return append(names, name)
	})
}

func (k *knownEdges) remove(name string) {
	k.change(func(names []string) []string {
		return slices.DeleteFunc(names, func(other string) bool { return other == name })
	})
}

func (k *knownEdges) change(f func([]string) []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.names = f(k.names)
	data, err := json.Marshal(k.names)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = k.settings.Set(ctx, knownEdgesKey, string(data))
	}
	if err != nil {
		k.log.Error("Cannot remember the names of edges", "error", err)
	}
}
