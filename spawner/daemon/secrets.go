package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"edgespawner/fleet"
	"edgespawner/proxyhook/feed"
)

// secrets are what one installation makes for itself, once.
type secrets struct {
	fleet        string // the installation's id on all that it owns
	installation string // who holds a lease
	edge         string // proves to the fallback router that a request came through an edge
	probeHost    string
	certificate  string
	key          string
	session      []byte
}

// settings is where they are kept.
type settings interface {
	Get(ctx context.Context, key string) (value string, set bool, err error)
	Set(ctx context.Context, key, value string) error
}

func loadSecrets(ctx context.Context, store settings, adopted string) (secrets, error) {
	var s secrets
	stored, known, err := store.Get(ctx, "fleet")
	switch {
	case err != nil:
		return s, err
	case known && adopted != "" && stored != adopted:
		return s, fleet.InvalidField("--fleet", "is %q, but this state directory belongs to fleet %q", adopted, stored)
	case !known && adopted != "":
		if err := store.Set(ctx, "fleet", adopted); err != nil {
			return s, err
		}
	}
	random := func(n int) func() (string, error) {
		return func() (string, error) {
			buffer := make([]byte, n)
			rand.Read(buffer) // never fails, by its documentation
			return hex.EncodeToString(buffer), nil
		}
	}
	var pair certificatePair
	var encoded, session string
	errs := []error{
		once(ctx, store, "fleet", &s.fleet, random(4)),
		once(ctx, store, "installation", &s.installation, random(8)),
		once(ctx, store, "edge-secret", &s.edge, random(32)),
		once(ctx, store, "probe-host", &s.probeHost, func() (string, error) {
			name, err := random(16)()
			return name + ".spawner.invalid", err
		}),
		once(ctx, store, "session-key", &session, random(32)),
		once(ctx, store, "default-certificate", &encoded, newCertificatePair),
	}
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(encoded), &pair); err != nil {
		return s, fmt.Errorf("cannot read the stored default certificate: %w", err)
	}
	s.certificate, s.key, s.session = pair.Certificate, pair.Key, []byte(session)
	return s, nil
}

type certificatePair struct{ Certificate, Key string }

func newCertificatePair() (string, error) {
	var pair certificatePair
	var err error
	if pair.Certificate, pair.Key, err = feed.NewDefaultCertificate(); err != nil {
		return "", err
	}
	data, err := json.Marshal(pair)
	return string(data), err
}

// once reads a setting, and makes it the first time.
func once(ctx context.Context, store settings, key string, value *string, create func() (string, error)) error {
	stored, known, err := store.Get(ctx, key)
	if err != nil || known {
		*value = stored
		return err
	}
	if *value, err = create(); err != nil {
		return fmt.Errorf("cannot make the setting %s: %w", key, err)
	}
	return store.Set(ctx, key, *value)
}
