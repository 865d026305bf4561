package sqlite

import (
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestAWebhookBeginsAfterTheNewestEventAndRemembersHowFarItIs(t *testing.T) {
	store := openNew(t)
	fillEvents(t, store, 5)
	hook := fleet.StoredWebhook{Key: "whsec_x", Webhook: fleet.Webhook{
		Name: "ops", URL: "https://example.com/hook", Types: []fleet.EventType{fleet.EventFailed}, Service: "api", By: "alice", CreatedAt: noon}}
	stored := hook
	stored.Delivered = 5
	add := func(hook fleet.StoredWebhook) (fleet.StoredWebhook, error) {
		return store.Webhooks().Add(t.Context(), hook)
	}
	got, err := add(hook)
	must(t, err)
	diff(t, got, stored)
	_, err = add(hook)
	wantKind(t, err, fleet.Conflict)
	_, err = add(fleet.StoredWebhook{Webhook: fleet.Webhook{Name: "all", CreatedAt: noon}})
	must(t, err)
	must(t, store.Webhooks().Advance(t.Context(), "ops", 7, noon.Add(time.Hour)))
	wantKind(t, store.Webhooks().Advance(t.Context(), "none", 7, noon), fleet.NotFound)
	store = reopen(t, store)
	list, err := store.Webhooks().List(t.Context())
	must(t, err)
	hook.Delivered, hook.DeliveredAt = 7, noon.Add(time.Hour)
	diff(t, list, []fleet.StoredWebhook{{Webhook: fleet.Webhook{Name: "all", Types: []fleet.EventType{}, CreatedAt: noon, Delivered: 5}}, hook})
	must(t, store.Webhooks().Remove(t.Context(), "ops"))
	wantKind(t, store.Webhooks().Remove(t.Context(), "ops"), fleet.NotFound)
}
