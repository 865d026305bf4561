package engine

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"time"

	"edgespawner/fleet"
)

// fakeWatch is one stream of notices. Notices come in order, each fakeEvent late.
type fakeWatch struct {
	queue  []timedNotice
	signal chan struct{} // capacity 1
	broken bool
}

type timedNotice struct {
	due    time.Time
	notice fleet.Notice
}

// tell queues a notice for every stream. It is called with the lock held.
func (d *fakeDocker) tell(b *box, n fleet.Notice) {
	n.Node, n.ID, n.Time, n.Labels = d.node.Name, b.id, time.Now(), maps.Clone(b.config.Labels)
	for w := range d.watches {
		if !w.broken {
			w.put(n, fakeEvent)
		}
	}
}

func (w *fakeWatch) put(n fleet.Notice, late time.Duration) {
	w.queue = append(w.queue, timedNotice{time.Now().Add(late), n})
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (d *fakeDocker) watch(ctx context.Context) <-chan fleet.Notice {
	w := &fakeWatch{signal: make(chan struct{}, 1)}
	out := make(chan fleet.Notice)
	d.mu.Lock()
	d.watches[w] = true
	if d.mute != nil {
		w.broken = true
		w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeLost, Time: time.Now(), Err: context.DeadlineExceeded}, fakeNoAnswer)
	} else {
		w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeConnected, Time: time.Now()}, 0)
	}
	d.mu.Unlock()
	go func() {
		defer close(out)
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.watches, w)
		}()
		for {
			d.mu.Lock()
			var next timedNotice
			if len(w.queue) > 0 {
				next = w.queue[0]
				w.queue = w.queue[1:]
			}
			d.mu.Unlock()
			if next.notice.Action == "" {
				select {
				case <-w.signal:
					continue
				case <-ctx.Done():
					return
				}
			}
			// A timer of no length is not made: two of those at once in a bubble of
			// synctest crash the race detector (runtime.timer.modify runs them in place).
			if wait := time.Until(next.due); wait > 0 {
				pause(ctx, wait)
			}
			select {
			case out <- next.notice:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// breakStreams loses what happens for fakeConnect; then the streams stand again.
func (d *fakeDocker) breakStreams() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loseStreams()
	time.AfterFunc(fakeConnect, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.findStreams()
	})
}

// loseStreams and findStreams are called with the lock held.
func (d *fakeDocker) loseStreams() {
	for w := range d.watches {
		w.broken = true
		w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeLost, Time: time.Now(), Err: context.DeadlineExceeded}, 0)
	}
}

func (d *fakeDocker) findStreams() {
	for w := range d.watches {
		if w.broken {
			w.broken = false
			w.put(fleet.Notice{Node: d.node.Name, Action: fleet.NoticeConnected, Time: time.Now()}, 0)
		}
	}
}

// fakeConn is a connection of a client to an app.
type fakeConn struct {
	docker *fakeDocker
	app    *box
	life   int
}

// dial connects to whatever app answers at the address; false = refused.
func (d *fakeDocker) dial(address netip.Addr) (*fakeConn, bool) {
	return d.dialAt(netip.AddrPortFrom(address, 8080))
}

func (d *fakeDocker) dialAt(at netip.AddrPort) (*fakeConn, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	app := d.cluster.answeringAt(at)
	if app == nil || app.stopping && d.behaviourOf(app).stopTakes == 0 {
		return nil, false
	}
	c := &fakeConn{d, app, app.life}
	app.conns[c] = true
	return c, true
}

// close ends the connection; false = the app did not live to its end.
func (c *fakeConn) close() bool {
	c.docker.mu.Lock()
	defer c.docker.mu.Unlock()
	delete(c.app.conns, c)
	return c.app.life == c.life && c.app.status == fleet.ContainerRunning
}

// exec answers the sandbox's conns.
func (d *fakeDocker) exec(id string) (fleet.ExecResult, error) {
	if err := d.trip("exec", d.name(id)); err != nil {
		return fleet.ExecResult{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	sandbox := d.boxes[id]
	if sandbox == nil {
		return fleet.ExecResult{}, gone(id)
	}
	if sandbox.status != fleet.ContainerRunning {
		return fleet.ExecResult{}, fleet.Errorf(fleet.Conflict, "%s is not running", sandbox.name)
	}
	list := []fleet.Connection{}
	for _, b := range d.boxes {
		for c := range b.conns {
			if b.joined == sandbox && c.life == b.life && b.status == fleet.ContainerRunning {
				list = append(list, fleet.Connection{Remote: netip.MustParseAddrPort("10.9.0.250:40000"), Inbound: true, LastRecv: fleet.Duration(time.Minute)})
			}
		}
	}
	output, err := json.Marshal(list)
	return fleet.ExecResult{Output: output}, err
}

func (d *fakeDocker) logs(ctx context.Context, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	d.mu.Lock()
	b := d.boxes[id]
	if b == nil {
		d.mu.Unlock()
		return gone(id)
	}
	lines := b.lines
	d.mu.Unlock()
	if o.Tail >= 0 && len(lines) > o.Tail {
		lines = lines[len(lines)-o.Tail:]
	}
	for _, l := range lines {
		if err := line(l); err != nil {
			return err
		}
	}
	if o.Follow {
		<-ctx.Done()
	}
	return nil
}
