package fleet

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// Webhook is a receiver that events are sent to as they happen.
type Webhook struct {
	Name      string      `json:"name"`
	URL       string      `json:"url"`
	Types     []EventType `json:"types"`            // any of them; [] = all
	Service   string      `json:"service"`          // of this service only; empty = of all
	Secret    string      `json:"secret,omitempty"` // only in the answer that makes it
	By        string      `json:"by"`               // who made it
	CreatedAt time.Time   `json:"created_at"`

	Delivered   int64     `json:"delivered"`             // the id of the last event that was taken; 0 = none yet
	DeliveredAt time.Time `json:"delivered_at,omitzero"` // zero = never

	FailingSince time.Time `json:"failing_since,omitzero"` // the first attempt of those in a row that failed; zero = it works
	Attempts     int       `json:"attempts"`               // of those
	NextAttempt  time.Time `json:"next_attempt,omitzero"`
	LastError    string    `json:"last_error,omitempty"`
}

// StoredWebhook is a webhook as the store keeps it: without what only the running spawner knows.
type StoredWebhook struct {
	Webhook        // with an empty Secret field
	Key     Secret // what it is signed with
}

// WebhookTest is what came of a test message.
type WebhookTest struct {
	Status int      `json:"status"` // the HTTP status that the receiver answered
	Took   Duration `json:"took"`
}

const maxURLLength = 2048

var webhookName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// Validate reports every mistake in what an admin may set, each by its field.
func (w *Webhook) Validate() error {
	var mistakes []error
	if !webhookName.MatchString(w.Name) {
		mistakes = append(mistakes, InvalidField("name", "%q is not a name: 1 to 63 letters, digits, and . _ - after the first", w.Name))
	}
	if err := receiverError(w.URL); err != nil {
		mistakes = append(mistakes, err)
	}
	for i, one := range w.Types {
		if !slices.Contains(EventTypes(), one) {
			mistakes = append(mistakes, InvalidField(fmt.Sprintf("types[%d]", i), "%q is not one of %s", one, EventTypeList()))
		}
		if slices.Contains(w.Types[:i], one) {
			mistakes = append(mistakes, InvalidField(fmt.Sprintf("types[%d]", i), "%q stands twice", one))
		}
	}
	if w.Service != "" && !directPattern.MatchString(w.Service) {
		mistakes = append(mistakes, InvalidField("service", "%q is not a service's name", w.Service))
	}
	return errors.Join(mistakes...)
}

// receiverError never repeats the URL: what stands in it may be a secret.
func receiverError(text string) error {
	parsed, err := url.Parse(text)
	switch {
	case text == "":
		return InvalidField("url", "is missing")
	case err != nil || len(text) > maxURLLength || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Hostname() == "" || parsed.Opaque != "":
		return InvalidField("url", "is not an http or https URL such as https://example.com/hook, of at most %d characters", maxURLLength)
	case parsed.User != nil:
		return InvalidField("url", "holds a user name or a password; a receiver knows its caller by the signature")
	case parsed.Fragment != "":
		return InvalidField("url", "has a part after #, which is never sent")
	}
	return nil
}
