//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

// echoed is what mock-app's /echo saw of a request.
type echoed struct {
	Method           string      `json:"method"`
	URI              string      `json:"uri"`
	Proto            string      `json:"proto"`
	Host             string      `json:"host"`
	Headers          http.Header `json:"headers"`
	ContentLength    int64       `json:"content_length"`
	TransferEncoding []string    `json:"transfer_encoding"`
	Body             []byte      `json:"body"`
	Trailers         http.Header `json:"trailers"`
}

func echoOf(t *testing.T, body string) echoed {
	t.Helper()
	var seen echoed
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&seen); err != nil {
		t.Fatalf("cannot read what the app saw: %v in %q", err, body)
	}
	return seen
}

// sleepAll puts services to sleep, some side by side: each waits for the connections
// that the edge keeps for some seconds.
func sleepAll(t *testing.T, s *stand.Stand, services ...string) {
	t.Helper()
	slots := make(chan struct{}, 6)
	together(t, len(services), func(i int) {
		slots <- struct{}{}
		defer func() { <-slots }()
		s.Sleep(services[i])
	})
}

// together calls do n times at once, and ends the test if one of them failed it.
func together(t *testing.T, n int, do func(i int)) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func secret(text string) fleet.Secret { return fleet.Secret(text) }

// lines are the lines of a text that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
