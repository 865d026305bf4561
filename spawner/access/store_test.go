package access

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

// memory is a TokenStore that keeps the contract of the real one.
type memory struct {
	mu      sync.Mutex
	tokens  []fleet.StoredToken
	touched int
	broken  error // returned by FindByHash and Touch when set
}

func (m *memory) Add(_ context.Context, token fleet.StoredToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.tokens, func(t fleet.StoredToken) bool { return t.Name == token.Name }) {
		return fleet.Errorf(fleet.Conflict, "there is a token %q already", token.Name)
	}
	m.tokens = append(m.tokens, token)
	return nil
}

func (m *memory) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.tokens)
	m.tokens = slices.DeleteFunc(m.tokens, func(t fleet.StoredToken) bool { return t.Name == name })
	if len(m.tokens) == before {
		return fleet.Errorf(fleet.NotFound, "there is no token %q", name)
	}
	return nil
}

func (m *memory) List(context.Context) ([]fleet.StoredToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tokens), nil
}

func (m *memory) FindByHash(_ context.Context, hash string) (fleet.StoredToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return fleet.StoredToken{}, m.broken
	}
	for _, token := range m.tokens {
		if token.Hash == hash {
			return token, nil
		}
	}
	return fleet.StoredToken{}, fleet.Errorf(fleet.NotFound, "there is no such token")
}

func (m *memory) Touch(_ context.Context, name string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touched++
	for i := range m.tokens {
		if m.tokens[i].Name == name {
			m.tokens[i].LastUsed = at
		}
	}
	return nil
}

// give stores a token and returns its secret.
func (m *memory) give(name string, scope fleet.Scope, expires time.Time) string {
	secret := NewToken()
	_ = m.Add(context.Background(), fleet.StoredToken{Token: fleet.Token{Name: name, Scope: scope, ExpiresAt: expires}, Hash: Hash(secret)})
	return secret.Reveal()
}

// record collects events.
type record struct {
	mu     sync.Mutex
	events []fleet.Event
}

func (r *record) add(event fleet.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// text returns all messages.
func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, event := range r.events {
		lines = append(lines, string(event.Type)+": "+event.Message)
	}
	return strings.Join(lines, "\n")
}
