package docker

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"edgespawner/fleet"
)

// The rhythm of a watch. A frozen engine keeps its stream open and says
// nothing, so a ping of our own goes beside it; two that fail in a row are a
// lost engine, since one may only be late on a loaded machine.
const (
	pingInterval   = time.Second
	pingsToLose    = 2
	backoffFirst   = 100 * time.Millisecond
	backoffLongest = 5 * time.Second
	noticeBuffer   = 256
)

// errNoAnswer is a stream that stands while the engine does not answer pings.
var errNoAnswer = errors.New("the engine does not answer")

// Watcher tells what happens on nodes.
type Watcher struct{ pool *Pool }

// Watcher returns the view of the pool that tells what happens on nodes.
func (p *Pool) Watcher() *Watcher { return &Watcher{p} }

// Watch sends notices until ctx ends, then closes the channel. Each connection
// begins with NoticeConnected: what happened before it is not told, so the
// reader lists then. One that breaks, or a first one that fails, sends
// NoticeLost once, and is made again with back-off.
func (w *Watcher) Watch(ctx context.Context, nodeName string) <-chan fleet.Notice {
	notices := make(chan fleet.Notice, noticeBuffer)
	go func() {
		defer close(notices)
		w.watch(ctx, nodeName, notices)
	}()
	return notices
}

func (w *Watcher) watch(ctx context.Context, nodeName string, notices chan<- fleet.Notice) {
	pause := backoffFirst
	lost := false
	for ctx.Err() == nil {
		connected, err := w.stream(ctx, nodeName, notices)
		if ctx.Err() != nil {
			return
		}
		if connected {
			pause, lost = backoffFirst, false
		}
		if !lost {
			lost = true
			send(ctx, notices, fleet.Notice{Node: nodeName, Action: fleet.NoticeLost, Time: time.Now().UTC(), Err: onlyReason(err)})
		}
		select {
		case <-time.After(pause + rand.N(pause/4)):
		case <-ctx.Done():
		}
		pause = min(2*pause, backoffLongest)
	}
}

// stream makes one connection and reads it until it breaks. Connected says
// whether it stood; err why it ended.
func (w *Watcher) stream(ctx context.Context, nodeName string, notices chan<- fleet.Notice) (connected bool, err error) {
	// The first ping finds a dead engine within its second; the one behind the
	// subscription gives that time to stand.
	if err := w.pool.Ping(ctx, nodeName); err != nil {
		return false, err
	}
	n, err := w.pool.engine(ctx, nodeName)
	if err != nil {
		return false, err
	}
	streaming, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	messages, failed := n.client.Events(streaming, events.ListOptions{
		Filters: filters.NewArgs(w.pool.ours(), filters.Arg("type", string(events.ContainerEventType))),
	})
	if err := w.pool.Ping(ctx, nodeName); err != nil {
		return false, err
	}
	select {
	case err := <-failed:
		return false, translate(ctx, n, "watch", err)
	default:
	}
	if !send(ctx, notices, fleet.Notice{Node: nodeName, Action: fleet.NoticeConnected, Time: time.Now().UTC()}) {
		return true, ctx.Err()
	}
	pinging := make(chan struct{})
	go func() {
		defer close(pinging)
		w.keepPinging(streaming, nodeName, cancel)
	}()
	defer func() { cancel(nil); <-pinging }()
	for {
		select {
		case message := <-messages:
			if notice, ok := noticeOf(nodeName, message); ok && !send(ctx, notices, notice) {
				return true, ctx.Err()
			}
		case err := <-failed:
			if cause := context.Cause(streaming); cause != nil {
				err = cause
			}
			return true, translate(ctx, n, "watch", err)
		}
	}
}

// keepPinging ends the stream when the engine stops answering.
func (w *Watcher) keepPinging(ctx context.Context, nodeName string, lose context.CancelCauseFunc) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	missed := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := w.pool.Ping(ctx, nodeName); err == nil {
			missed = 0
		} else if missed++; missed >= pingsToLose {
			lose(fail(errors.Join(errNoAnswer, err), fleet.Unavailable, "", "%s", onlyReason(err)))
			return
		}
	}
}

// send hands a notice over unless ctx ends first.
func send(ctx context.Context, notices chan<- fleet.Notice, notice fleet.Notice) bool {
	select {
	case notices <- notice:
		return true
	case <-ctx.Done():
		return false
	}
}

// actions are the engine's words that we pass on; others are no news.
var actions = map[events.Action]fleet.NoticeAction{
	events.ActionStart:   fleet.NoticeStarted,
	events.ActionDie:     fleet.NoticeDied,
	events.ActionPause:   fleet.NoticePaused,
	events.ActionUnPause: fleet.NoticeUnpaused,
	events.ActionDestroy: fleet.NoticeRemoved,
	events.ActionOOM:     fleet.NoticeOOM,
	events.ActionKill:    fleet.NoticeKilled,
	events.ActionUpdate:  fleet.NoticeUpdated,
	events.ActionRename:  fleet.NoticeUpdated,
}

// endingSignals are those that are sent to end an app: SIGINT, SIGQUIT, SIGKILL, SIGTERM.
var endingSignals = map[string]bool{"2": true, "3": true, "9": true, "15": true}

// healthPrefix begins the action "health_status: healthy".
const healthPrefix = "health_status"

// noticeOf reads an event of a container; the lease's are nobody's news.
func noticeOf(nodeName string, m events.Message) (fleet.Notice, bool) {
	attributes := m.Actor.Attributes
	notice := fleet.Notice{Node: nodeName, ID: m.Actor.ID, Time: time.Unix(0, m.TimeNano).UTC()}
	if attributes[fleet.LabelRole] == string(fleet.RoleLease) {
		return notice, false
	}
	if word, found := strings.CutPrefix(string(m.Action), healthPrefix); found {
		notice.Action = fleet.NoticeHealth
		notice.Health = healthOf(strings.TrimSpace(strings.TrimPrefix(word, ":")))
	} else if action, known := actions[m.Action]; known {
		notice.Action = action
	} else {
		return notice, false
	}
	if notice.Action == fleet.NoticeKilled && !endingSignals[attributes["signal"]] {
		return notice, false
	}
	if notice.Action == fleet.NoticeDied {
		notice.Exit, _ = strconv.Atoi(attributes["exitCode"]) // absent on no engine; 0 then
	}
	notice.Labels = maps.Clone(attributes)
	for _, own := range []string{"image", "name", "exitCode", "execDuration", "execID", "signal"} { // the engine's, among the labels
		delete(notice.Labels, own)
	}
	return notice, true
}
