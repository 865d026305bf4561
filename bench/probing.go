package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"

	"edgespawner/test/stand"
)

// probingTime is how long the probes of a fleet are looked at.
const probingTime = 30 * time.Second

// probing looks at what the probes of 100 replicas cost the spawner and how late
// they begin, beside a plain Go program that asks the same apps as often.
func (b *bench) probing(s *stand.Stand, addresses []string) {
	before := b.scrape(s)
	time.Sleep(probingTime)
	after := b.scrape(s)
	seconds := after.at.Sub(before.at).Seconds()
	each := func(name string) float64 { return after.sum(name) - before.sum(name) }
	rate := each("spawner_probes_total") / seconds
	cpu := each("process_cpu_seconds_total") / seconds
	late := 1000 * quantile(before, after, "spawner_probe_lateness_seconds", 0.99)
	floorCPU, floorLate := b.plainProbing(addresses)
	asked := fmt.Sprintf("%.0f probes a second", rate)
	b.show("floor: CPU of a plain program that asks as often", floorCPU, "cores", "user and system seconds a second")
	b.atMost("CPU of the spawner with 100 replicas probed every second", cpu, max(0.1, 2*floorCPU), "cores", asked)
	b.show("floor: lateness of a plain program's probes, p99", floorLate, "ms", "")
	b.atMost("lateness of the spawner's probes, p99", late, max(25, 2*floorLate), "ms", asked)
	if rate < float64(len(addresses))*0.95 {
		b.Fatalf("%.0f probes a second of %d replicas", rate, len(addresses))
	}
}

// plainProbing asks each address every second, on a connection of its own, from
// this process, and returns its CPU and how late the requests began.
func (b *bench) plainProbing(addresses []string) (cores, lateness float64) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var mu sync.Mutex
	var late []float64
	var group sync.WaitGroup
	began, used := time.Now(), b.cpuOfThis()
	for i, address := range addresses {
		group.Go(func() {
			due := began.Add(time.Duration(i) * time.Second / time.Duration(len(addresses)))
			for ; due.Before(began.Add(probingTime / 3)); due = due.Add(time.Second) {
				time.Sleep(time.Until(due))
				lag := milliseconds(time.Since(due))
				response, err := client.Get("http://" + address + ":9000/status")
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
				if err != nil {
					b.Logf("%v", err)
				}
				mu.Lock()
				late = append(late, lag)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return (b.cpuOfThis() - used).Seconds() / time.Since(began).Seconds(), percentile(late, 0.99)
}

// cpuOfThis returns the user and system time that this process has used.
func (b *bench) cpuOfThis() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatalf("cannot read the CPU time: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
