package webhooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/sqlite"
)

// record is a record of events over a real store.
type record struct {
	sqlite.Events
	mu   sync.Mutex
	news chan struct{} // closed and made anew with each event
}

func (r *record) Record(event fleet.Event) {
	if _, err := r.Append(context.Background(), []fleet.Event{event}); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.news)
	r.news = make(chan struct{})
}

func (r *record) FollowEvents(ctx context.Context, f fleet.EventFilter) (int64, <-chan fleet.Event, error) {
	out := make(chan fleet.Event)
	go func() {
		defer close(out)
		for {
			r.mu.Lock()
			news := r.news
			r.mu.Unlock()
			events, err := r.List(ctx, f)
			if err != nil {
				return
			}
			for _, event := range events {
				select {
				case out <- event:
					f.After = event.ID
				case <-ctx.Done():
					return
				}
			}
			if len(events) > 0 {
				continue // there may be more than a page
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}()
	return f.After, out, nil
}

func (r *record) messages(t *testing.T, kind fleet.EventType) (list []string) {
	t.Helper()
	events, err := r.List(t.Context(), fleet.EventFilter{Types: []fleet.EventType{kind}})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		list = append(list, event.Message)
	}
	return list
}

// receiver is what stands at a URL: it notes what it takes, as a user's own code would.
type receiver struct {
	secret string
	answer func(w http.ResponseWriter, attempt int) // nil = 204

	mu       sync.Mutex
	attempts []time.Time
	taken    []message
	ids      []string
	bad      int // messages whose signature is not right
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.attempts = append(v.attempts, time.Now())
	stamp, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	if !verified(r.Header, data, v.secret) || err != nil || stamp != time.Now().Unix() { // of this attempt
		v.bad++
	}
	w.Header()["Date"] = nil
	if v.answer == nil {
		w.WriteHeader(http.StatusNoContent)
	} else {
		v.answer(w, len(v.attempts))
	}
	if recorder, ok := w.(*httptest.ResponseRecorder); ok && recorder.Code < 300 {
		var m message
		_ = json.Unmarshal(data, &m)
		v.taken = append(v.taken, m)
		v.ids = append(v.ids, r.Header.Get("webhook-id"))
	}
}

// verified is what the documentation tells a receiver to do.
func verified(header http.Header, body []byte, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(want), []byte(header.Get("webhook-signature")))
}

func (v *receiver) answers(with func(w http.ResponseWriter, attempt int)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answer = with
}

func (v *receiver) look() (taken []string, attempts, bad int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.taken {
		taken = append(taken, m.Data.Message)
	}
	return taken, len(v.attempts), v.bad
}

// scene is a sender over a real store, with receivers by host instead of a network.
type scene struct {
	t      *testing.T
	store  *sqlite.Store
	record *record
	log    bytes.Buffer
	sender *Sender
	end    func()

	mu        sync.Mutex
	receivers map[string]*receiver
}

func (s *scene) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	v := s.receivers[r.URL.Hostname()]
	s.mu.Unlock()
	if v == nil {
		return nil, io.ErrUnexpectedEOF
	}
	w := httptest.NewRecorder()
	v.ServeHTTP(w, r)
	return w.Result(), nil
}

// play sets a scene in a bubble of its own time.
func play(t *testing.T, test func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "spawner.db"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{t: t, store: store, record: &record{Events: store.Events(), news: make(chan struct{})}, receivers: map[string]*receiver{}}
		s.begin()
		test(t, s)
		s.end()
		synctest.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// begin starts a sender, as a new process would.
func (s *scene) begin() {
	s.sender = New(Config{Store: s.store.Webhooks(), Events: s.record, FleetID: "f1", Log: slog.New(slog.NewTextHandler(&s.log, nil))})
	s.sender.client.Transport = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.sender.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	synctest.Wait()
	s.end = func() {
		cancel()
		<-ended
	}
}

// add makes a webhook to a receiver at a host of its own name.
func (s *scene) add(hook fleet.Webhook) *receiver {
	s.t.Helper()
	hook.URL = "https://" + hook.Name + "/T0/secret-in-path"
	made, err := s.sender.Add(s.t.Context(), hook)
	if err != nil {
		s.t.Fatal(err)
	}
	v := &receiver{secret: made.Secret}
	s.stands(hook.Name, v)
	return v
}

// stands lets a receiver stand at a host; nil = none.
func (s *scene) stands(host string, v *receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receivers[host] = v
}

func (s *scene) happens(kind fleet.EventType, message string) {
	s.record.Record(fleet.Event{Timestamp: time.Now().UTC(), Type: kind, Service: "api", Message: message})
}
