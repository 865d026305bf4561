package probes

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
)

func TestEachProbeOfTheScheduleIsToldWithItsTimeAndHowLateItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan Probed, 16)
		var code atomic.Int64
		p := New(Config{
			Execer: execFunc(func(context.Context, string, string, []string) (fleet.ExecResult, error) {
				time.Sleep(30 * time.Millisecond)
				return fleet.ExecResult{ExitCode: int(code.Load())}, nil
			}),
			Observe: func(probed Probed) { told <- probed },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		check := fleet.HealthCheck{Type: fleet.CheckCommand, Command: []string{"check"}, Interval: fleet.Duration(time.Second)}
		p.Watch(Target{Replica: "api-0"}, check, fleet.Healthy, time.Now())
		p.Watch(Target{Replica: "api-1"}, fleet.HealthCheck{Type: fleet.CheckNone}, fleet.Healthy, time.Now())
		if n := p.Watched(); n != 1 {
			t.Errorf("%d replicas are watched", n)
		}
		for _, exit := range []int64{0, 0, 1, 1} {
			code.Store(exit)
			probed := <-told
			if probed.Type != fleet.CheckCommand || probed.Took != 30*time.Millisecond || probed.Late != 0 {
				t.Errorf("told %+v", probed)
			}
			if failed := probed.Err != nil; failed != (exit != 0) {
				t.Errorf("exit code %d is told as %v", exit, probed.Err)
			}
		}
	})
}
