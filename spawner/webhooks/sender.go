package webhooks

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"edgespawner/fleet"
)

// mostWebhooks is how many there may be.
const mostWebhooks = 32

// Store keeps webhooks.
type Store interface {
	// Add lets the webhook begin after the newest event, and returns it as it is
	// stored; Conflict when its name is taken.
	Add(ctx context.Context, hook fleet.StoredWebhook) (fleet.StoredWebhook, error)
	// Remove is NotFound for an unknown name.
	Remove(ctx context.Context, name string) error
	// List returns them by name.
	List(ctx context.Context) ([]fleet.StoredWebhook, error)
	// Advance notes up to which id events need not be sent any more.
	Advance(ctx context.Context, name string, delivered int64, at time.Time) error
}

// Events is the record of events.
type Events interface {
	// FollowEvents sends what the filter selects of the past and then what
	// happens; the channel is closed when ctx ends, or when no more can be told.
	FollowEvents(ctx context.Context, f fleet.EventFilter) (from int64, events <-chan fleet.Event, err error)
	// Record stores an event; it never waits.
	Record(event fleet.Event)
}

// Config is what a Sender goes by.
type Config struct {
	Store   Store
	Events  Events
	FleetID string // begins each webhook-id
	// Observe is told what came of an attempt, or of an event that is given up;
	// it returns at once. Nil = nobody is told.
	Observe func(webhook string, what Outcome)
	// Removed is told of a webhook that is there no more, behind all that Observe
	// is told of it; it returns at once. Nil = nobody is told.
	Removed func(webhook string)
	Log     *slog.Logger
}

// Outcome is what came of an attempt to deliver an event.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeDelivered Outcome = "delivered"
	OutcomeFailed    Outcome = "failed"   // it is sent again later
	OutcomeGivenUp   Outcome = "given_up" // the event is too old for another attempt
)

// Sender sends events to the receivers of all webhooks.
type Sender struct {
	config Config
	client *http.Client

	mu      sync.Mutex // guards what follows, and one change of the store at a time
	life    context.Context
	ended   bool
	workers map[string]*worker
}

// New makes a Sender; Run starts it.
func New(config Config) *Sender {
	if config.Observe == nil {
		config.Observe = func(string, Outcome) {}
	}
	if config.Removed == nil {
		config.Removed = func(string) {}
	}
	return &Sender{config: config, client: newClient(), workers: map[string]*worker{}}
}

// Run sends events until ctx ends, and waits for the attempts under way, which end with it.
func (s *Sender) Run(ctx context.Context) error {
	s.mu.Lock()
	hooks, err := s.config.Store.List(ctx)
	if err == nil {
		s.life = ctx
		for _, hook := range hooks {
			if err := s.startLocked(hook); err != nil {
				s.config.Log.Error("Cannot send to a webhook", "webhook", hook.Name, "error", err)
			}
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	<-ctx.Done()
	s.mu.Lock()
	s.ended = true
	workers := slices.Collect(maps.Values(s.workers)) // some may be removed meanwhile
	s.mu.Unlock()
	for _, w := range workers {
		<-w.done
	}
	s.client.CloseIdleConnections()
	return nil
}

func (s *Sender) startLocked(hook fleet.StoredWebhook) error {
	key, err := keyOf(hook.Key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.life)
	w := &worker{sender: s, key: key, cancel: cancel, done: make(chan struct{}), hook: hook.Webhook,
		log: s.config.Log.With("webhook", hook.Name)}
	s.workers[hook.Name] = w
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
	return nil
}

// Add makes a webhook; without a secret, one is made for it. The answer alone
// holds the secret. Errors are *fleet.Error that name the field.
func (s *Sender) Add(ctx context.Context, hook fleet.Webhook) (fleet.Webhook, error) {
	if err := hook.Validate(); err != nil {
		return fleet.Webhook{}, err
	}
	secret := fleet.Secret(hook.Secret)
	if secret == "" {
		secret = newSecret()
	}
	if _, err := keyOf(secret); err != nil {
		return fleet.Webhook{}, err
	}
	hook.Secret, hook.CreatedAt = "", time.Now().UTC()
	hook.Types = append([]fleet.EventType{}, hook.Types...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil || s.ended {
		return fleet.Webhook{}, fleet.Errorf(fleet.Unavailable, "webhooks are not running")
	}
	if len(s.workers) >= mostWebhooks {
		return fleet.Webhook{}, fleet.Errorf(fleet.Conflict, "there are %d webhooks already, which is as many as there may be", mostWebhooks)
	}
	stored, err := s.config.Store.Add(ctx, fleet.StoredWebhook{Webhook: hook, Key: secret})
	if err != nil {
		return fleet.Webhook{}, err
	}
	if err := s.startLocked(stored); err != nil {
		return fleet.Webhook{}, err
	}
	stored.Webhook.Secret = secret.Reveal()
	return stored.Webhook, nil
}

func unknown(name string) error {
	return fleet.Errorf(fleet.NotFound, "there is no webhook %q", name)
}

// Remove ends a webhook; when it returns, nothing is sent to it any more.
func (s *Sender) Remove(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.config.Store.Remove(ctx, name); err != nil {
		return err
	}
	if w := s.workers[name]; w != nil {
		w.cancel()
		<-w.done
		delete(s.workers, name)
	}
	s.config.Removed(name)
	return nil
}

// List returns the webhooks, by name, without their secrets.
func (s *Sender) List(ctx context.Context) ([]fleet.Webhook, error) {
	stored, err := s.config.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hooks := make([]fleet.Webhook, len(stored))
	for i, hook := range stored {
		hooks[i] = hook.Webhook
		if w := s.workers[hook.Name]; w != nil {
			hooks[i] = w.look()
		}
	}
	return hooks, nil
}

// Test sends one message that tells of no event, once. It returns what the
// receiver answered, or an error that says why it cannot be reached.
func (s *Sender) Test(ctx context.Context, name, by string) (fleet.WebhookTest, error) {
	s.mu.Lock()
	w := s.workers[name]
	s.mu.Unlock()
	if w == nil {
		return fleet.WebhookTest{}, unknown(name)
	}
	return w.test(ctx, fleet.Event{
		Timestamp: time.Now().UTC(), Type: fleet.EventWebhook, By: by,
		Message: fmt.Sprintf("Test of webhook %s, asked for by %s", name, by),
	})
}
