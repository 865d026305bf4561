package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"edgespawner/fleet"
)

// Webhooks is the view of the receivers of events.
type Webhooks struct{ store *Store }

// Webhooks returns the view of webhooks.
func (s *Store) Webhooks() Webhooks { return Webhooks{s} }

const webhookColumns = "name, url, types, service, secret, by, created_at, delivered, delivered_at"

// Add stores a webhook that is to be sent what is recorded from now on, and
// returns it as it is stored. It is a Conflict when its name is taken.
func (v Webhooks) Add(ctx context.Context, hook fleet.StoredWebhook) (stored fleet.StoredWebhook, err error) {
	types, err := json.Marshal(append([]fleet.EventType{}, hook.Types...))
	if err != nil {
		return stored, failed(err, "store webhook %q", hook.Name)
	}
	err = v.store.write(ctx, synced, func(tx *sql.Tx) error {
		stored, err = scanWebhook(tx.QueryRowContext(ctx, "INSERT INTO webhooks ("+webhookColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, "+newestEvent+", 0) RETURNING "+webhookColumns,
			hook.Name, hook.URL, string(types), hook.Service, hook.Key.Reveal(), hook.By, stamp(orNow(hook.CreatedAt))))
		return err
	})
	if duplicate(err) {
		return stored, fleet.Errorf(fleet.Conflict, "there is a webhook %q already", hook.Name)
	}
	return stored, failed(err, "store webhook %q", hook.Name)
}

// Remove removes a webhook with its secret.
func (v Webhooks) Remove(ctx context.Context, name string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM webhooks WHERE name = ?", name)
		return touched(result, err, "webhook", name)
	})
	return failed(err, "remove webhook %q", name)
}

// List returns the webhooks, by name.
func (v Webhooks) List(ctx context.Context) ([]fleet.StoredWebhook, error) {
	hooks, err := query(ctx, v.store.reader, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks ORDER BY name")
	return hooks, failed(err, "list the webhooks")
}

// Advance notes that the events up to an id need not be sent any more.
func (v Webhooks) Advance(ctx context.Context, name string, delivered int64, at time.Time) error {
	err := v.store.write(ctx, noted, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE webhooks SET delivered = ?, delivered_at = ? WHERE name = ?", delivered, stamp(at), name)
		return touched(result, err, "webhook", name)
	})
	return failed(err, "note what webhook %q was sent", name)
}

func scanWebhook(row scanner) (fleet.StoredWebhook, error) {
	var hook fleet.StoredWebhook
	var types, key string
	var created, delivered int64
	err := row.Scan(&hook.Name, &hook.URL, &types, &hook.Service, &key, &hook.By, &created, &hook.Delivered, &delivered)
	if err == nil {
		err = json.Unmarshal([]byte(types), &hook.Types)
	}
	hook.Key, hook.CreatedAt, hook.DeliveredAt = fleet.Secret(key), moment(created), moment(delivered)
	return hook, err
}
