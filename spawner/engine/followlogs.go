package engine

import (
	"context"
	"sync"
	"time"

	"edgespawner/fleet"
)

// joinPeriod is how often a follower looks for apps that were made or started since.
const joinPeriod = time.Second

// followLogs tells what was written and then each line as it is written, of
// the replicas that are there and of those that join. The channel between holds
// mergeWindow lines: a slow reader slows the reading, and costs no memory.
func (e *Engine) followLogs(ctx context.Context, a *actor, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	lines := make(chan fleet.LogLine, mergeWindow)
	ended := make(chan string)
	reading := map[string]bool{}
	began := time.Now()
	joined := false
	tick := time.NewTicker(joinPeriod)
	defer tick.Stop()
	for {
		sources, err := a.logSources(ctx, o.Replica)
		if err != nil {
			return nil // the service was removed, or the reader left
		}
		for _, source := range sources {
			if reading[source.id] {
				continue
			}
			reading[source.id] = true
			options := o
			if joined { // it was not there before: all that it says
				options.Tail, options.Since = -1, began
			}
			readers.Go(func() { e.followOne(ctx, source, options, lines, ended) })
		}
		joined = true
		began = time.Now()
		if done, err := tellLines(ctx, lines, ended, reading, tick.C, line); done {
			return err
		}
	}
}

func (e *Engine) followOne(ctx context.Context, source logSource, o fleet.LogOptions, lines chan<- fleet.LogLine, ended chan<- string) {
	if err := e.readLogs(ctx, source, o, lines); err != nil {
		e.log.Warn("Cannot follow logs", "replica", source.replica, "error", err)
	}
	select {
	case ended <- source.id:
	case <-ctx.Done():
	}
}

// tellLines hands on lines until it is time to look for apps that joined.
func tellLines(ctx context.Context, lines <-chan fleet.LogLine, ended <-chan string, reading map[string]bool, look <-chan time.Time, line func(fleet.LogLine) error) (done bool, err error) {
	for {
		select {
		case l := <-lines:
			if err := line(l); err != nil {
				return true, err
			}
		case id := <-ended:
			delete(reading, id) // read again from now on when it is started again
		case <-look:
			return false, nil
		case <-ctx.Done():
			return true, nil
		}
	}
}
