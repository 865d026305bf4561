package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
	"edgespawner/test/stand"
)

// routes measures how long the edge takes from a change to its proof on every
// entry point (the job's own step "confirm"), with 10, 100, 500 and 1,000
// services. Those that only fill the document have no replicas: their routes
// lead to the wake leg. Beside it the floor: the same document, made before the
// clock starts, handed to another edge by a server that does nothing else.
func routes(b *bench) {
	s := stand.Start(b)
	changing := s.MockApp("changing", "changing.test")
	s.Deploy(changing)
	idle := b.memoryOf(s.Spawner.PID())
	bare := b.newBareFeed(s)
	have := 1
	for _, step := range []struct {
		services int
		bound    float64 // ms; 0 = none
	}{{1, 0}, {10, 15}, {100, 50}, {500, 250}, {1000, 0}} {
		b.fill(s, have, step.services)
		have = step.services
		var took, floor []float64
		bare.take(b.documentOf(s.Edges[0]))
		for round := range b.rounds {
			changing.Route.PathPrefix = ""
			if round%2 == 0 {
				changing.Route.PathPrefix = "/changed"
			}
			changing.Replicas = 0 // a change of the route alone
			job := s.Deploy(changing)
			took, floor = append(took, confirmTime(job)), append(floor, milliseconds(bare.change()))
		}
		name := fmt.Sprintf("route change to live, %d services, p95", step.services)
		detail := fmt.Sprintf("p50 %.3g ms, n=%d", median(took), len(took))
		if step.bound > 0 {
			b.atMost(name, percentile(took, 0.95), step.bound, "ms", detail)
		} else {
			b.show(name, percentile(took, 0.95), "ms", detail)
		}
		b.show(fmt.Sprintf("floor: the same document from a bare feed, %d services, p95", step.services), percentile(floor, 0.95), "ms",
			fmt.Sprintf("p50 %.3g ms, n=%d; %d kB", median(floor), len(floor), len(bare.body)/1000))
	}
	b.show("spawner's memory with 1 service", idle, "MB", "resident")
	b.show("spawner's memory with 1,000 services", b.memoryOf(s.Spawner.PID()), "MB", "resident")
}

// documentOf returns the edge's document, once the question for it, which is a
// poll too, counts as a connection of the edge's no more.
func (b *bench) documentOf(edge *stand.Edge) []byte {
	document := edge.Document()
	stand.Eventually(b, time.Minute, "the edge polls alone", func() error {
		status, err := edge.Status()
		if err == nil && status.Connections > 1 {
			err = fmt.Errorf("%d connections poll", status.Connections)
		}
		return err
	})
	return document
}

// confirmTime is the longest step "confirm" of a job: the one that waited for the document.
func confirmTime(job fleet.Job) float64 {
	longest := time.Duration(0)
	for _, step := range job.Steps {
		if step.Verb == "confirm" {
			longest = max(longest, step.EndedAt.Sub(step.StartedAt))
		}
	}
	return milliseconds(longest)
}

// fill deploys services without replicas until there are so many.
func (b *bench) fill(s *stand.Stand, have, want int) {
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for n := have; n < want; n++ {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			spec := s.MockApp(fmt.Sprintf("fill-x%d", n), fmt.Sprintf("fill-%d.test", n))
			spec.Replicas = 0
			spec.Route.TLS = n%2 == 0 && want >= 100
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			accepted, err := s.Client.Deploy(ctx, spec, client.DeployOptions{})
			if err == nil {
				_, err = s.Client.WaitJob(ctx, accepted.JobID)
			}
			if err != nil {
				b.Logf("filling: %v", err)
			}
		})
	}
	group.Wait()
}
