package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// upload sends 1 GB through the edge to a service with failover, and looks at
// what the edge's memory grew by.
func upload(b *bench) {
	const size = 1 << 30
	s := stand.Start(b)
	s.Deploy(s.MockApp("uploads", "uploads.test"))
	before := b.memoryOf(s.Edges[0].PID())
	peak := before
	watch := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-watch:
				return
			case <-time.After(50 * time.Millisecond):
				peak = max(peak, b.memoryOf(s.Edges[0].PID()))
			}
		}
	}()
	request, err := http.NewRequest("POST", "http://uploads.test/upload", io.LimitReader(zeros{}, size))
	if err != nil {
		b.Fatalf("cannot make a request: %v", err)
	}
	request.ContentLength = size
	transport := s.Edges[0].Transport()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	close(watch)
	<-watched
	if err != nil {
		b.Fatalf("the upload: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		b.Fatalf("the upload was answered %s", response.Status)
	}
	b.show("edge's memory before a 1 GB upload", before, "MB", "")
	b.show("edge's memory at its peak during it", peak, "MB", "failover on: the upload takes the bypass router")
	for _, id := range s.Containers("uploads", string(fleet.RoleSandbox)) {
		var seen struct{ State struct{ Pid int } }
		b.call("GET", "/containers/"+id+"/json", nil, &seen)
		b.show("memory of a sandbox", b.memoryOf(seen.State.Pid), "MB", "resident")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memoryOf returns a process's resident memory in MB.
func (b *bench) memoryOf(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Logf("cannot read the memory of process %d: %v", pid, err)
		return 0
	}
	var total, resident int
	if _, err := fmt.Sscan(string(data), &total, &resident); err != nil {
		b.Logf("cannot read the memory of process %d: %v", pid, err)
		return 0
	}
	return float64(resident*os.Getpagesize()) / (1 << 20)
}

// memoryByKind returns what of a process's resident memory is its own and what
// are pages of files, such as its program, in MB.
func (b *bench) memoryByKind(pid int) (private, file float64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatalf("cannot read the memory of process %d: %v", pid, err)
	}
	for line := range strings.Lines(string(data)) {
		var kilobytes float64
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kilobytes); err == nil {
			private = kilobytes / 1024
		} else if _, err := fmt.Sscanf(line, "RssFile: %f kB", &kilobytes); err == nil {
			file = kilobytes / 1024
		}
	}
	return private, file
}
