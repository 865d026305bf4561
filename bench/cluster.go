package main

import (
	"fmt"
	"math"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/lab"
	"edgespawner/test/stand"
)

// clusterNodes is how many real engines the cluster has.
const clusterNodes = 10

// cluster spreads 100 replicas over 10 real engines, looks at what that costs,
// and takes the power of one of them away.
func cluster(b *bench) {
	s := stand.Start(b, stand.WithLab(lab.Options{Nodes: clusterNodes, Swarm: true}))
	before := b.engineCalls(s)
	jobs := b.deployFleet(s, fmt.Sprintf("%d engines", clusterNodes))
	const replicas = fleetServices * fleetReplicas
	scheduled, deciding := decisions(jobs)
	b.atMost(fmt.Sprintf("%d replicas on %d engines scheduled, of all jobs together", replicas, clusterNodes), deciding.Seconds(), 2, "s", "what their place steps took")
	b.show("from the first job's start to the last decision", scheduled.Seconds(), "s", "10 jobs at a time: the others wait for a worker")
	calls := b.engineCalls(s) - before
	b.show("calls of engines for a replica", calls/replicas, "", fmt.Sprintf("%.0f in all, pings among them", calls))
	b.balance(s, replicas)
	time.Sleep(15 * time.Second) // the garbage of the deploys is collected, the probes run
	private, file := b.memoryByKind(s.Spawner.PID())
	b.atMost("spawner's memory with 10 nodes of 10 replicas", private+file, 60, "MB", fmt.Sprintf("resident: %.3g MB of its own, %.3g MB of the program's file", private, file))
	b.loseNode(s, replicas)
}

// decisions are the time from the first job's start to the last decision, and
// what all decisions took.
func decisions(jobs []fleet.Job) (until, deciding time.Duration) {
	var first, last time.Time
	for _, job := range jobs {
		if first.IsZero() || job.StartedAt.Before(first) {
			first = job.StartedAt
		}
		for _, step := range job.Steps {
			if step.Verb != "place" {
				continue
			}
			deciding += step.EndedAt.Sub(step.StartedAt)
			if step.EndedAt.After(last) {
				last = step.EndedAt
			}
		}
	}
	return last.Sub(first), deciding
}

// engineCalls is how many calls of engines the spawner has counted.
func (b *bench) engineCalls(s *stand.Stand) float64 {
	return b.scrape(s).buckets("spawner_engine_call_seconds")[math.Inf(1)]
}

// balance shows how evenly the replicas are spread.
func (b *bench) balance(s *stand.Stand, replicas int) {
	fewest, most := replicas, 0
	for _, node := range s.Lab.Nodes {
		has := s.Node(node.Name).Replicas
		fewest, most = min(fewest, has), max(most, has)
	}
	b.show("replicas on the fullest node", float64(most), "", fmt.Sprintf("%d on the emptiest", fewest))
}

// loseNode takes the power of the last node away and measures what follows.
func (b *bench) loseNode(s *stand.Stand, replicas int) {
	lost := s.Lab.Nodes[clusterNodes-1]
	began := time.Now()
	s.KillNode(lost)
	for _, state := range []fleet.NodeState{fleet.NodeSuspected, fleet.NodeDown} {
		s.WaitNode(lost.Name, 20*time.Second, state, fleet.NodeDown)
		b.atMost("from a node's loss until it is "+string(state), time.Since(began).Seconds(), 10, "s", "")
	}
	stand.Eventually(b, 2*time.Minute, "all replicas serve elsewhere", func() error {
		ready := 0
		for _, service := range s.Services() {
			for _, container := range service.Containers {
				if container.Health == fleet.Healthy && container.NodeID != lost.Name {
					ready++
				}
			}
		}
		if ready < replicas {
			return fmt.Errorf("%d do", ready)
		}
		return nil
	})
	b.show("from a node's loss until all its replicas serve elsewhere", time.Since(began).Seconds(), "s", fmt.Sprintf("%d replicas on 9 engines, of one machine with 2 cores", replicas/clusterNodes))
}
