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

// Of the fleet that is measured: 20 services of 5 replicas on one node.
const (
	fleetServices = 20
	fleetReplicas = 5
)

// manyReplicas deploys 100 replicas and looks at the spawner's memory, and at
// how soon it is ready again after a restart.
func manyReplicas(b *bench) {
	s := stand.Start(b)
	began := time.Now()
	var group sync.WaitGroup
	for n := range fleetServices {
		group.Go(func() {
			spec := s.MockApp(fmt.Sprintf("fleet-x%d", n), fmt.Sprintf("fleet-%d.test", n))
			spec.Replicas = fleetReplicas
			spec.HealthCheck.Interval = fleet.Duration(10 * time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			accepted, err := s.Client.Deploy(ctx, spec, client.DeployOptions{})
			if err == nil {
				_, err = s.Client.WaitJob(ctx, accepted.JobID)
			}
			if err != nil {
				b.Logf("deploy: %v", err)
			}
		})
	}
	group.Wait()
	const replicas = fleetServices * fleetReplicas
	b.show(fmt.Sprintf("%d replicas deployed and serving on one node", replicas), time.Since(began).Seconds(), "s", "")
	if running := len(s.Containers("", string(fleet.RoleApp))); running != replicas {
		b.Fatalf("%d apps are there, want %d", running, replicas)
	}
	time.Sleep(15 * time.Second) // the garbage of the deploys is collected, the probes run
	private, resident := b.privateMemoryOf(s.Spawner.PID()), b.memoryOf(s.Spawner.PID())
	b.atMost("spawner's memory with 100 replicas", resident, 60, "MB", fmt.Sprintf("resident; %.3g MB of it private, the rest is the program's file", private))
	s.Spawner.Kill()
	killed := time.Now()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	b.show("ready again after kill -9 with 100 replicas", time.Since(killed).Seconds(), "s", "")
}
