package docker

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/container"

	"edgespawner/fleet"
)

func TestWhatContainersUseIsTheDifferenceOfTwoLooks(t *testing.T) {
	f := newFakeEngine(t)
	f.on("GET /containers/json", 200, []map[string]any{{"Id": "busy"}, {"Id": "gone"}})
	f.on("GET /containers/gone/stats", 404, "No such container: gone")
	var looks atomic.Int64
	f.handle("GET /containers/busy/stats", func(w http.ResponseWriter, r *http.Request) {
		var told container.StatsResponse
		told.CPUStats.CPUUsage.TotalUsage = uint64(looks.Add(1)) * uint64(usagePause) // a whole CPU
		told.MemoryStats.Usage = 96 << 20
		told.MemoryStats.Stats = map[string]uint64{"inactive_file": 32 << 20}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(told)
	})
	got, err := f.pool(t).Usage(t.Context(), "local")
	if err != nil || got.MemoryMB != 64 || got.CPUShares < 256 || got.CPUShares > 1024 {
		t.Errorf("got %+v, %v", got, err)
	}
	f.on("GET /containers/json", 200, []map[string]any{})
	if got, err := f.pool(t).Usage(t.Context(), "local"); err != nil || got != (fleet.Resources{}) {
		t.Errorf("without containers: %+v, %v", got, err)
	}
}
