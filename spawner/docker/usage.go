package docker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"edgespawner/fleet"
)

const (
	usageTimeout = 3 * time.Second
	usagePause   = 250 * time.Millisecond // between the two looks that tell the use of CPUs
	usageLooks   = 8                      // containers looked at at a time
)

// Usage measures what this fleet's running containers use of a node now. It
// takes usagePause and a little more.
func (p *Pool) Usage(ctx context.Context, nodeName string) (fleet.Resources, error) {
	var load fleet.Resources
	err := p.askWithin(ctx, usageTimeout, nodeName, "measure what is used", func(ctx context.Context, n *node) error {
		running, err := n.client.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(
			filters.Arg("label", fleet.LabelFleet+"="+p.fleetID), filters.Arg("status", "running"))})
		if err != nil || len(running) == 0 {
			return err
		}
		before, began := n.consumption(ctx, running), time.Now()
		select {
		case <-time.After(usagePause):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, took := n.consumption(ctx, running), time.Since(began)
		var memory int64
		for id, now := range after {
			memory += now.memory
			if then, known := before[id]; known && now.cpu > then.cpu {
				load.CPUShares += int(1024 * (now.cpu - then.cpu) / took)
			}
		}
		load.MemoryMB = int(memory >> 20)
		return nil
	})
	return load, err
}

// consumption is what a container has used.
type consumption struct {
	cpu    time.Duration // of all CPUs, since it was started
	memory int64         // bytes, without what the kernel can drop
}

// consumption looks at each of the containers; those that end meanwhile are left out.
func (n *node) consumption(ctx context.Context, running []container.Summary) map[string]consumption {
	var mu sync.Mutex
	found := map[string]consumption{}
	slots := make(chan struct{}, usageLooks)
	var looking sync.WaitGroup
	for _, c := range running {
		slots <- struct{}{}
		looking.Go(func() {
			defer func() { <-slots }()
			one, err := n.consumptionOf(ctx, c.ID)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				found[c.ID] = one
			}
		})
	}
	looking.Wait()
	return found
}

func (n *node) consumptionOf(ctx context.Context, id string) (consumption, error) {
	answer, err := n.client.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return consumption{}, err
	}
	defer answer.Body.Close()
	var told container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return consumption{}, err
	}
	droppable := told.MemoryStats.Stats["inactive_file"] // of cgroups 2
	if old, known := told.MemoryStats.Stats["total_inactive_file"]; known {
		droppable = old
	}
	memory := told.MemoryStats.Usage - min(droppable, told.MemoryStats.Usage)
	return consumption{cpu: time.Duration(told.CPUStats.CPUUsage.TotalUsage), memory: int64(memory)}, nil
}
