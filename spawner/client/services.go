package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"edgespawner/fleet"
)

// DeployOptions change how a deploy is taken.
type DeployOptions struct {
	Force bool // replace even what is right
	Merge bool // the body is laid over the service's present spec
}

func (o DeployOptions) query() url.Values {
	query := url.Values{}
	if o.Force {
		query.Set("force", "true")
	}
	if o.Merge {
		query.Set("merge", "true")
	}
	return query
}

// Deploy creates or updates a service. Its secrets are sent as they are, not redacted.
func (c *Client) Deploy(ctx context.Context, spec fleet.Spec, o DeployOptions) (fleet.Accepted, error) {
	body, err := SpecBody(spec)
	if err != nil {
		return fleet.Accepted{}, err
	}
	return c.DeployBody(ctx, body, o)
}

// DeployBody creates or updates a service from a JSON body, which the spawner
// alone decodes: with Merge it may hold a part of a spec.
func (c *Client) DeployBody(ctx context.Context, body []byte, o DeployOptions) (accepted fleet.Accepted, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "deploy"}, query: o.query(), body: body}, &accepted)
	return accepted, err
}

// Plan says what a deploy of that body would do, and changes nothing.
func (c *Client) Plan(ctx context.Context, body []byte, o DeployOptions) (plan fleet.Plan, err error) {
	query := o.query()
	query.Set("dry_run", "true")
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "deploy"}, query: query, body: body}, &plan)
	return plan, err
}

// SpecBody is the deploy body of a spec, with its secrets themselves.
func SpecBody(spec fleet.Spec) ([]byte, error) {
	body, err := json.Marshal(spec.Reveal())
	if err != nil {
		return nil, fmt.Errorf("cannot write the spec of %q: %w", spec.Name, err)
	}
	return body, nil
}

// Services lists all services by name.
func (c *Client) Services(ctx context.Context) (services []fleet.Service, err error) {
	err = c.get(ctx, &services, nil, "api", "services")
	return services, err
}

// Service returns one service with all that is known of it; env values are redacted.
func (c *Client) Service(ctx context.Context, name string) (detail fleet.ServiceDetail, err error) {
	err = c.get(ctx, &detail, nil, "api", "services", name)
	return detail, err
}

// RevealedService is Service with env values; it takes a token of scope admin.
func (c *Client) RevealedService(ctx context.Context, name string) (detail fleet.ServiceDetail, err error) {
	err = c.get(ctx, &detail, url.Values{"reveal": {"env"}}, "api", "services", name)
	return detail, err
}

// Revisions returns the accepted specs, newest first.
func (c *Client) Revisions(ctx context.Context, name string) (revisions []fleet.Revision, err error) {
	err = c.get(ctx, &revisions, nil, "api", "services", name, "revisions")
	return revisions, err
}

// Why says what keeps a service in its state.
func (c *Client) Why(ctx context.Context, name string) (why fleet.Why, err error) {
	err = c.get(ctx, &why, nil, "api", "services", name, "why")
	return why, err
}

// Remove removes a service; its volumes stay.
func (c *Client) Remove(ctx context.Context, name string) (fleet.Accepted, error) {
	return c.remove(ctx, name, nil)
}

// RemoveWithVolumes removes a service, and of its volumes those that the spawner has made and no other service uses.
func (c *Client) RemoveWithVolumes(ctx context.Context, name string) (fleet.Accepted, error) {
	return c.remove(ctx, name, url.Values{"volumes": {"true"}})
}

func (c *Client) remove(ctx context.Context, name string, query url.Values) (accepted fleet.Accepted, err error) {
	err = c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "services", name}, query: query}, &accepted)
	return accepted, err
}

// Scale sets the number of replicas.
func (c *Client) Scale(ctx context.Context, name string, replicas int) (fleet.Accepted, error) {
	return c.verb(ctx, name, "scale", fmt.Appendf(nil, `{"replicas":%d}`, replicas))
}

// Rollback brings an earlier revision back; 0 = the newest that succeeded before the one in service.
func (c *Client) Rollback(ctx context.Context, name string, revision int) (fleet.Accepted, error) {
	return c.verb(ctx, name, "rollback", fmt.Appendf(nil, `{"revision":%d}`, revision))
}

// Restart restarts the apps of a service, replica by replica.
func (c *Client) Restart(ctx context.Context, name string) (fleet.Accepted, error) {
	return c.verb(ctx, name, "restart", nil)
}

// Wake wakes a service.
func (c *Client) Wake(ctx context.Context, name string) (fleet.Accepted, error) {
	return c.verb(ctx, name, "wake", nil)
}

// Sleep puts a service to sleep.
func (c *Client) Sleep(ctx context.Context, name string) (fleet.Accepted, error) {
	return c.verb(ctx, name, "sleep", nil)
}

func (c *Client) verb(ctx context.Context, name, verb string, body []byte) (accepted fleet.Accepted, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: []string{"api", "services", name, verb}, body: body}, &accepted)
	return accepted, err
}

func (c *Client) get(ctx context.Context, answer any, query url.Values, path ...string) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query}, answer)
}
