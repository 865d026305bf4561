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

// manyReplicas deploys 100 replicas and looks at the spawner's memory, at what
// their probes cost, and at how soon it is ready again after a restart.
func manyReplicas(b *bench) {
	s := stand.Start(b)
	b.deployFleet(s, "one node")
	time.Sleep(15 * time.Second) // the garbage of the deploys is collected, the probes run
	private, file := b.memoryByKind(s.Spawner.PID())
	b.atMost("spawner's memory with 100 replicas", private+file, 60, "MB", fmt.Sprintf("resident: %.3g MB of its own, %.3g MB of the program's file", private, file))
	var addresses []string
	for n := range fleetServices {
		for _, replica := range s.Service(fleetService(n)).Detail {
			addresses = append(addresses, replica.Address)
		}
	}
	b.probing(s, addresses)
	s.Spawner.Kill()
	killed := time.Now()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	b.show("ready again after kill -9 with 100 replicas", time.Since(killed).Seconds(), "s", "")
}

func fleetService(n int) string { return fmt.Sprintf("fleet-x%d", n) }

// deployFleet deploys them side by side, each probed every second, and returns
// the jobs at their ends.
func (b *bench) deployFleet(s *stand.Stand, where string) []fleet.Job {
	jobs := make([]fleet.Job, fleetServices)
	began := time.Now()
	var group sync.WaitGroup
	for n := range jobs {
		group.Go(func() {
			spec := s.MockApp(fleetService(n), fmt.Sprintf("fleet-%d.test", n))
			spec.Replicas = fleetReplicas
			spec.HealthCheck.Interval = fleet.Duration(time.Second)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			accepted, err := s.Client.Deploy(ctx, spec, client.DeployOptions{})
			if err == nil {
				jobs[n], err = s.Client.WaitJob(ctx, accepted.JobID)
			}
			if err != nil {
				b.Logf("deploy: %v", err)
			}
		})
	}
	group.Wait()
	const replicas = fleetServices * fleetReplicas
	b.show(fmt.Sprintf("%d replicas deployed and serving on %s", replicas, where), time.Since(began).Seconds(), "s", "")
	if running := len(s.Containers("", string(fleet.RoleApp))); running != replicas {
		b.Fatalf("%d apps are there, want %d", running, replicas)
	}
	return jobs
}
