package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func hookStub(t *testing.T) *spawnerStub {
	hook := fleet.Webhook{Name: "ops", URL: "https://example.com/hook", Secret: hookSecret}
	failing := fleet.Webhook{Name: "old", URL: "https://example.com/old", Types: []fleet.EventType{fleet.EventFailed, fleet.EventHealth}, Service: "api",
		FailingSince: at("10:23:45.000"), LastError: "connection refused"}
	hook2 := hook
	hook2.Secret = ""
	return newSpawner(t, map[string]any{
		"POST /api/webhooks": hook, "GET /api/webhooks": []fleet.Webhook{failing, hook2}, "DELETE /api/webhooks/ops": nil,
		"POST /api/webhooks/ops/test": fleet.WebhookTest{Status: 204, Took: fleet.Duration(12e6)},
	})
}

func TestTheSecretThatWasMadeForAWebhookStandsAloneOnStandardOutput(t *testing.T) {
	stub := hookStub(t)
	got := stub.ask(t, "webhook", "add", "ops", "https://example.com/hook", "--type", "failed,health", "--service", "api")
	if got.code != 0 || got.out != hookSecret+"\n" || got.err != "" {
		t.Errorf("got %+v", got)
	}
	if want := `{"name":"ops","service":"api","types":["failed","health"],"url":"https://example.com/hook"}`; stub.body != want {
		t.Errorf("sent %s", stub.body)
	}
}

func TestASecretFromAFileIsSentAndNotShown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"table", "json"} {
		stub := hookStub(t)
		got := stub.ask(t, "webhook", "add", "ops", "https://example.com/hook", "--secret-file", path, "-o", output)
		if got.code != 0 || strings.Contains(got.out+got.err, hookSecret) || !strings.Contains(stub.body, `"secret":"`+hookSecret+`"`) {
			t.Errorf("%s: got %+v, sent %s", output, got, stub.body)
		}
	}
	stub := hookStub(t)
	if got := stub.ask(t, "webhook", "add", "ops", "https://example.com/hook", "--secret-file", path+"-missing"); got.code != exitFailed || len(stub.questions()) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestWebhooksAreListedWithWhatTheirReceiversDo(t *testing.T) {
	got := hookStub(t).ask(t, "webhook", "ls")
	want := "NAME   URL                        TYPES           SERVICE   DELIVERED   STATE\n" +
		"old    https://example.com/old    failed,health   api       -           failing since 2024-01-15 10:23:45: connection refused\n" +
		"ops    https://example.com/hook   all             all       -           ok\n"
	if diff := cmp.Diff(want, got.out); diff != "" || got.code != 0 {
		t.Errorf("%+v %s", got, diff)
	}
}

func TestAWebhookIsTestedAndRemoved(t *testing.T) {
	stub := hookStub(t)
	if got := stub.ask(t, "webhook", "test", "ops"); got.code != 0 || got.out != "Webhook ops took it: 204 in 12ms\n" {
		t.Errorf("got %+v", got)
	}
	if got := stub.ask(t, "webhook", "rm", "ops"); got.code != 0 || got.out != "Removed webhook ops\n" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"POST /api/webhooks/ops/test", "DELETE /api/webhooks/ops"}, stub.questions()); diff != "" {
		t.Error(diff)
	}
}
