//go:build e2e

package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// hookReceiver is a receiver of webhooks as a user would write it.
type hookReceiver struct {
	t       *testing.T
	address string
	server  *http.Server

	mu     sync.Mutex
	secret string
	ids    []string      // of messages whose signature was right, in order
	events []fleet.Event // of them, each id once
	forged int
}

func (h *hookReceiver) listen() {
	h.t.Helper()
	listener, err := net.Listen("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go h.server.Serve(listener)
}

// ServeHTTP verifies a message as docs/operating.md says.
func (h *hookReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id, timestamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
	if err != nil || !hmac.Equal([]byte("v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(r.Header.Get("webhook-signature"))) {
		h.forged++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var message struct{ Data fleet.Event }
	if err := json.Unmarshal(body, &message); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !slices.Contains(h.ids, id) {
		h.events = append(h.events, message.Data)
	}
	h.ids = append(h.ids, id)
}

func (h *hookReceiver) taken() (ids []int64, forged int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, event := range h.events {
		ids = append(ids, event.ID)
	}
	return ids, h.forged
}

func TestAWebhookIsSentEachEventOverADeadReceiverAndAKilledSpawner(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	receiver := &hookReceiver{t: t, address: fmt.Sprintf("127.0.0.1:%d", stand.FreePort(t))}
	receiver.listen()
	receiver.mu.Lock() // nothing is taken before the secret is known that it is signed with
	secret, code := s.CLI("webhook", "add", "ops", "http://"+receiver.address+"/hook", "--type", "deploy,scale,webhook")
	receiver.secret = strings.TrimSpace(secret)
	hooks, err := s.Client.Webhooks(t.Context())
	receiver.mu.Unlock()
	if code != 0 || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("code %d: %s", code, secret)
	}
	if err != nil || len(hooks) != 1 {
		t.Fatalf("got %+v, %v", hooks, err)
	}
	since := hooks[0].Delivered
	allTaken := func(what string) {
		t.Helper()
		stand.Eventually(t, 90*time.Second, "the receiver has taken all events "+what, func() error {
			var want []int64
			for _, event := range s.Events("", "") {
				if event.ID > since && slices.Contains([]fleet.EventType{fleet.EventDeploy, fleet.EventScale, fleet.EventWebhook}, event.Type) {
					want = append(want, event.ID)
				}
			}
			if got, _ := receiver.taken(); len(want) == 0 || !slices.Equal(got, want) {
				return fmt.Errorf("recorded %v, taken %v", want, got)
			}
			return nil
		})
	}
	s.Deploy(s.MockApp("web"))
	allTaken("while it stands")
	if output, code := s.CLI("webhook", "test", "ops"); code != 0 || !strings.HasPrefix(output, "Webhook ops took it: 200 in ") {
		t.Errorf("code %d: %s", code, output)
	}
	receiver.mu.Lock()
	receiver.events = slices.DeleteFunc(receiver.events, func(e fleet.Event) bool { return e.ID == 0 }) // the test tells of no event
	receiver.mu.Unlock()

	receiver.server.Close()
	s.Scale("web", 2)
	stand.Eventually(t, 60*time.Second, "the dead receiver is told of", func() error {
		if output, _ := s.CLI("webhook", "ls"); !strings.Contains(output, "failing since") {
			return fmt.Errorf("got\n%s", output)
		}
		return nil
	})
	s.Spawner.Kill()
	s.Spawner.Start()
	s.Spawner.WaitReady()
	s.Scale("web", 1)
	receiver.listen()
	defer receiver.server.Close()
	allTaken("after it was away")
	if delivered := number(t, s.Metric(`spawner_webhook_deliveries_total{outcome="delivered",webhook="ops"}`)); delivered < 1 {
		t.Errorf("%v deliveries are counted", delivered)
	}

	if _, forged := receiver.taken(); forged != 0 {
		t.Errorf("%d signatures were wrong", forged)
	}
	if output, code := s.CLI("webhook", "ls", "-o", "json"); code != 0 || strings.Contains(output, "whsec_") || strings.Contains(s.Spawner.Log(), strings.TrimSpace(secret)[6:]) {
		t.Errorf("the secret is shown: %s", output)
	}
	if output, code := s.CLI("webhook", "rm", "ops"); code != 0 {
		t.Errorf("code %d: %s", code, output)
	}
}
