package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
	"edgespawner/test/stand"
)

// Of the jobs that are measured: scales of services without replicas, so that no
// container is waited for. What is left is the way of any job: the API, the store
// on the disk, its steps, the edge's confirmation, its end.
const (
	jobServices = 10 // as many as there are workers
	jobsEach    = 30
)

// jobsPerSecond sends jobs through the queue of a real spawner with a real edge.
// The queue alone, over an engine of containers in memory, is measured by
// go test ./spawner/engine -bench JobsThroughTheQueue.
func jobsPerSecond(b *bench) {
	s := stand.Start(b)
	for n := range jobServices {
		spec := s.MockApp(fmt.Sprintf("job-x%d", n), fmt.Sprintf("job-%d.test", n))
		spec.Replicas = 0
		s.Deploy(spec)
	}
	var mu sync.Mutex
	var accepted []float64
	var failed atomic.Int32
	var group sync.WaitGroup
	began := time.Now()
	for n := range jobServices {
		group.Go(func() {
			for range jobsEach {
				took, err := oneJob(s.Client, fmt.Sprintf("job-x%d", n))
				if err != nil {
					b.Logf("job: %v", err)
					failed.Add(1)
					continue
				}
				mu.Lock()
				accepted = append(accepted, milliseconds(took))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed.Load() > 0 {
		b.Fatalf("%d of %d jobs failed", failed.Load(), jobServices*jobsEach)
	}
	seconds := time.Since(began).Seconds()
	b.show("jobs through the queue", jobServices*jobsEach/seconds, "jobs/s", fmt.Sprintf("%d services, each one job after another", jobServices))
	b.show("a job is accepted (202), median", percentile(accepted, 0.5), "ms", fmt.Sprintf("p95 %.3g ms", percentile(accepted, 0.95)))
}

// oneJob asks for a job and waits for its end; it returns how long the answer 202 took.
func oneJob(c *client.Client, service string) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	accepted, err := c.Scale(ctx, service, 0)
	took = time.Since(began)
	if err != nil {
		return 0, err
	}
	job, err := c.WaitJob(ctx, accepted.JobID)
	if err == nil && job.State != fleet.JobSucceeded {
		err = fmt.Errorf("%s: %s", job.State, job.Error)
	}
	return took, err
}
