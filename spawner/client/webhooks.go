package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"edgespawner/fleet"
)

// Webhooks lists the webhooks, without their secrets.
func (c *Client) Webhooks(ctx context.Context) (hooks []fleet.Webhook, err error) {
	err = c.get(ctx, &hooks, nil, "api", "webhooks")
	return hooks, err
}

// AddWebhook makes a webhook of name, URL, types, service and secret; without a
// secret one is made, which is in this answer and never again.
func (c *Client) AddWebhook(ctx context.Context, hook fleet.Webhook) (made fleet.Webhook, err error) {
	given := map[string]any{"name": hook.Name, "url": hook.URL}
	if len(hook.Types) > 0 {
		given["types"] = hook.Types
	}
	if hook.Service != "" {
		given["service"] = hook.Service
	}
	if hook.Secret != "" {
		given["secret"] = hook.Secret
	}
	body, err := json.Marshal(given)
	if err != nil {
		return made, fmt.Errorf("cannot ask for webhook %q: %w", hook.Name, err)
	}
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "webhooks"}, body: body}, &made)
	return made, err
}

// RemoveWebhook ends a webhook.
func (c *Client) RemoveWebhook(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "webhooks", name}}, nil)
}

// TestWebhook has one message sent to its receiver, once, and says what that answered.
func (c *Client) TestWebhook(ctx context.Context, name string) (result fleet.WebhookTest, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "webhooks", name, "test"}}, &result)
	return result, err
}
