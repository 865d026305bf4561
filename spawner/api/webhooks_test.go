package api

import (
	"net/http"
	"strings"
	"testing"

	"edgespawner/fleet"

	"github.com/google/go-cmp/cmp"
)

func TestAWebhookIsMadeTestedAndRemovedByAnAdminAndThatIsRecorded(t *testing.T) {
	f := newEngine()
	w := ask(t, f, "POST", "/api/webhooks", `{"name":"ops","url":"https://example.com/private","types":["failed","health"],"service":"api"}`)
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"secret":"whsec_shown-once"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	want := fleet.Webhook{Name: "ops", URL: "https://example.com/private", Types: []fleet.EventType{fleet.EventFailed, fleet.EventHealth}, Service: "api", By: "token:admin"}
	if diff := cmp.Diff([]fleet.Webhook{want}, f.hooks); diff != "" {
		t.Error(diff)
	}
	if w := ask(t, f, "GET", "/api/webhooks", ""); w.Code != 200 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := ask(t, f, "POST", "/api/webhooks/ops/test", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"status":204`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if w := ask(t, f, "DELETE", "/api/webhooks/ops", ""); w.Code != http.StatusNoContent {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	recorded := []string{
		"record webhook Webhook ops made by token:admin token:admin",
		"test-webhook ops token:admin",
		"remove-webhook ops", "record webhook Webhook ops removed by token:admin token:admin",
	}
	if diff := cmp.Diff(recorded, f.asked); diff != "" {
		t.Error(diff)
	}
}

func TestWebhooksAreForAdminsAlone(t *testing.T) {
	for _, call := range []string{"GET /api/webhooks", "POST /api/webhooks", "POST /api/webhooks/ops/test", "DELETE /api/webhooks/ops"} {
		method, path, _ := strings.Cut(call, " ")
		f := newEngine()
		if w := ask(t, f, method, path, "", "Authorization", "Bearer deploy"); w.Code != http.StatusForbidden || f.asked != nil {
			t.Errorf("%s: got %d %s", call, w.Code, w.Body)
		}
	}
}

func TestAWebhookThatIsRefusedIsNotRecorded(t *testing.T) {
	f := newEngine()
	f.err = fleet.InvalidField("url", "is missing")
	w := ask(t, f, "POST", "/api/webhooks", `{"name":"ops"}`)
	if got := refusalOf(t, w); w.Code != 400 || got.Field != "url" || f.asked != nil {
		t.Errorf("got %d %s, asked %v", w.Code, w.Body, f.asked)
	}
	if w := ask(t, newEngine(), "POST", "/api/webhooks", `{"name":"ops","target":"x"}`); w.Code != 400 || refusalOf(t, w).Field != "target" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
