package webhooks

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"
)

// The headers of a message. The signature is "v1," and the base64 of
// HMAC-SHA256(key, id + "." + timestamp + "." + body) (Standard Webhooks 1.0).
const (
	headerID        = "webhook-id"        // the same at each attempt
	headerTimestamp = "webhook-timestamp" // seconds since 1970, of the attempt
	headerSignature = "webhook-signature"
)

// secretPrefix begins a secret; the key in base64 follows.
const secretPrefix = "whsec_"

// The length of a key, in bytes.
const (
	shortestKey = 24
	longestKey  = 64
	madeKey     = 32
)

// newSecret makes a secret.
func newSecret() fleet.Secret {
	var key [madeKey]byte
	rand.Read(key[:]) // never fails, by its documentation
	return fleet.Secret(secretPrefix + base64.StdEncoding.EncodeToString(key[:]))
}

// keyOf returns the key that a secret stands for.
func keyOf(secret fleet.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < shortestKey || len(key) > longestKey {
		return nil, fleet.InvalidField("secret", "is not %s and the base64 of %d to %d bytes", secretPrefix, shortestKey, longestKey)
	}
	return key, nil
}

// message is what a receiver is sent of one event.
type message struct {
	Type      fleet.EventType `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      fleet.Event     `json:"data"`
}

func body(event fleet.Event) ([]byte, error) {
	data, err := json.Marshal(message{event.Type, event.Timestamp, event})
	if err != nil {
		return nil, fmt.Errorf("cannot write event %d: %w", event.ID, err)
	}
	return data, nil
}

// messageID is the same whenever this event is sent, and another for any other
// event, also after an older database was restored and ids are given again.
func messageID(fleetID string, event fleet.Event) string {
	return fmt.Sprintf("%s-%d-%d", fleetID, event.ID, event.Timestamp.UnixNano())
}

// sign sets the headers of an attempt. It leaves the header map of the attempt
// before, which may still be read, as it is.
func sign(r *http.Request, key []byte, id string, body []byte, now time.Time) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	header := r.Header.Clone()
	header.Set(headerID, id)
	header.Set(headerTimestamp, timestamp)
	header.Set(headerSignature, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	r.Header = header
}
