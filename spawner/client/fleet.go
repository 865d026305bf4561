package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"edgespawner/fleet"
)

// Edges lists the edges and what each has confirmed.
func (c *Client) Edges(ctx context.Context) (edges []fleet.Edge, err error) {
	err = c.get(ctx, &edges, nil, "api", "edges")
	return edges, err
}

// Tokens lists the tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) (tokens []fleet.Token, err error) {
	err = c.get(ctx, &tokens, nil, "api", "tokens")
	return tokens, err
}

// AddToken makes a token; its secret is in this answer and never again. Lifetime 0 = for ever.
func (c *Client) AddToken(ctx context.Context, name string, scope fleet.Scope, lifetime time.Duration) (token fleet.Token, err error) {
	body, err := json.Marshal(map[string]any{"name": name, "scope": scope, "expires_in": fleet.Duration(lifetime)})
	if err != nil {
		return token, fmt.Errorf("cannot ask for token %q: %w", name, err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "tokens"}, body: body}, &token)
	return token, err
}

// RemoveToken makes a token worthless.
func (c *Client) RemoveToken(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "tokens", name}}, nil)
}

// Login trades an account of the password file for a token that expires.
func (c *Client) Login(ctx context.Context, username, password string) (token string, err error) {
	if c.clear {
		return "", refuseClear(c.shown)
	}
	body, err := json.Marshal(map[string]string{"username": username, "password": password})
	if err != nil {
		return "", fmt.Errorf("cannot log in as %q: %w", username, err)
	}
	var answer struct {
		Token string `json:"token"`
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"login"}, body: body}, &answer)
	return answer.Token, err
}

// Healthy returns nil when the spawner answers at all.
func (c *Client) Healthy(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: []string{"healthz"}, once: true}, nil)
}

// Ready returns nil once the spawner has its state and its engines; else what it waits for.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: []string{"readyz"}, once: true}, nil)
}
