package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	// giveUpAfter is how old an event may grow that a receiver does not take.
	giveUpAfter = 24 * time.Hour
	// reportAfter is how long a receiver fails before an event says so: one that
	// is being restarted is no news.
	reportAfter = time.Minute
	// followAgain is the pause after a record of events that could not be read.
	followAgain = 5 * time.Second
	noteTime    = 10 * time.Second // for noting in the store what was delivered
)

var errTooOld = errors.New("the event is too old")

// worker sends the events of one webhook.
type worker struct {
	sender *Sender
	key    []byte
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing is sent any more
	log    *slog.Logger

	mu       sync.Mutex
	hook     fleet.Webhook
	reported bool // an event has said that it fails
	left     int  // events that were given up since it failed
}

func (w *worker) look() fleet.Webhook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hook
}

// run follows the events, and does so again when they cannot be read for a while.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil {
			w.log.Error("Cannot follow the events", "error", err)
		}
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
		}
	}
}

func (w *worker) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx) // the follower ends with this call
	defer cancel()
	hook := w.look()
	filter := fleet.EventFilter{Types: hook.Types, Service: hook.Service, After: hook.Delivered}
	if filter.After == 0 {
		filter.After = -1 // nothing had been recorded when it was made
	}
	_, events, err := w.sender.config.Events.FollowEvents(ctx, filter)
	if err != nil {
		return err
	}
	for event := range events {
		if event.Type == fleet.EventGap {
			w.log.Info("Going on after events that are no longer kept", "up_to", event.ID)
		} else if err := w.deliver(ctx, event); err != nil {
			return ignoreEnd(ctx, err)
		}
		if err := w.advance(ctx, event); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// deliver sends one event until it is taken or too old.
func (w *worker) deliver(ctx context.Context, event fleet.Event) error {
	if w.tooOld(event) {
		w.leaveOut(event)
		return nil
	}
	err := w.send(ctx, event)
	switch {
	case err == nil:
		w.delivered()
	case errors.Is(err, errTooOld):
		w.leaveOut(event)
	default:
		return err
	}
	return nil
}

// tooOld is true only of a receiver that has failed for as long: what a spawner
// could not send because it was down itself is sent, however old.
func (w *worker) tooOld(event fleet.Event) bool {
	failing := w.look().FailingSince
	return !failing.IsZero() && min(time.Since(event.Timestamp), time.Since(failing)) > giveUpAfter
}

func (w *worker) leaveOut(event fleet.Event) {
	w.log.Warn("Giving up an event that the receiver did not take", "event", event.ID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left++
	w.sender.config.Observe(w.hook.Name, OutcomeGivenUp)
}

// advance notes, in memory and in the store, that an event is done with. What a
// worker that is told to end has delivered it still notes.
func (w *worker) advance(ctx context.Context, event fleet.Event) error {
	w.mu.Lock()
	w.hook.Delivered = event.ID
	at := w.hook.DeliveredAt
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	err := w.sender.config.Store.Advance(ctx, w.hook.Name, event.ID, at)
	if fleet.KindOf(err) == fleet.NotFound {
		return nil // it was removed meanwhile
	}
	return err
}

// delivered notes a success, and tells of it if the failure before was told.
func (w *worker) delivered() {
	w.mu.Lock()
	since, reported, left := w.hook.FailingSince, w.reported, w.left
	w.hook.DeliveredAt = time.Now().UTC()
	w.hook.FailingSince, w.hook.NextAttempt = time.Time{}, time.Time{}
	w.hook.Attempts, w.hook.LastError = 0, ""
	w.reported, w.left = false, 0
	name := w.hook.Name
	w.mu.Unlock()
	w.sender.config.Observe(name, OutcomeDelivered)
	if !reported && left == 0 {
		return
	}
	text := fmt.Sprintf("Webhook %s delivers again after %s", name, time.Since(since).Round(time.Second))
	if left > 0 {
		text += fmt.Sprintf("; %s given up, since not taken by its receiver within %s", fleet.CountedAre(left, "event"), giveUpAfter)
	}
	w.sender.config.Events.Record(fleet.Event{Type: fleet.EventWebhook, Message: text})
}

// failed notes an attempt that failed, and tells of it when it goes on for long.
func (w *worker) failed(why error, short string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hook.FailingSince.IsZero() {
		w.hook.FailingSince = time.Now().UTC()
	}
	w.hook.Attempts++
	w.sender.config.Observe(w.hook.Name, OutcomeFailed)
	w.hook.LastError = why.Error()
	if w.reported || time.Since(w.hook.FailingSince) < reportAfter {
		return
	}
	w.reported = true
	w.log.Warn("A webhook's receiver takes nothing", "reason", short)
	w.sender.config.Events.Record(fleet.Event{Type: fleet.EventWebhook,
		Message: fmt.Sprintf("Webhook %s fails since %s: its receiver %s; what happens is sent when it is back", w.hook.Name, w.hook.FailingSince.Format(time.RFC3339), short)})
}

func (w *worker) waits(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook.NextAttempt = until.UTC()
}
