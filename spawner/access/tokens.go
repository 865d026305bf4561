package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	// tokenPrefix lets people and scanners of leaked secrets recognise a token.
	tokenPrefix = "spawner_"
	// ShortestToken is the least number of characters of a token that the configuration gives.
	ShortestToken = 16
	// touchEvery is how exactly the last use of a token is known.
	touchEvery = time.Minute
	// touchTime is how long a request waits at most for that note.
	touchTime = time.Second
)

// StaticToken is a token that the configuration gives.
type StaticToken struct {
	Name  string
	Token fleet.Secret
	Scope fleet.Scope
}

// NewToken makes a token of 256 random bits.
func NewToken() fleet.Secret {
	var random [32]byte
	rand.Read(random[:]) // never fails
	return fleet.Secret(tokenPrefix + hex.EncodeToString(random[:]))
}

// Hash returns what is stored of a token: its SHA-256 in hexadecimal.
func Hash(token fleet.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}

// tokens knows the tokens of the configuration and of the store.
type tokens struct {
	store  TokenStore
	static []fleet.StoredToken
	log    *slog.Logger

	mu   sync.Mutex
	used map[string]time.Time // by name: when its use was last noted
}

// hashStatic checks the tokens of the configuration and forgets their secrets.
func hashStatic(static []StaticToken) ([]fleet.StoredToken, error) {
	var errs []error
	var hashed []fleet.StoredToken
	for _, one := range static {
		if len(one.Token) < ShortestToken {
			errs = append(errs, fleet.InvalidField("token "+one.Name, "a token has at least %d characters, this one has %d", ShortestToken, len(one.Token)))
		}
		if isSession(one.Token.Reveal()) {
			errs = append(errs, fleet.InvalidField("token "+one.Name, "a token does not begin with %s", sessionPrefix))
		}
		if _, known := includes[one.Scope]; !known {
			errs = append(errs, fleet.InvalidField("token "+one.Name, "%q is not a scope", string(one.Scope)))
		}
		hashed = append(hashed, fleet.StoredToken{Token: fleet.Token{Name: one.Name, Scope: one.Scope}, Hash: Hash(one.Token)})
	}
	return hashed, errors.Join(errs...)
}

// find returns whose token it is; Unauthorized for an unknown or expired one.
func (t *tokens) find(ctx context.Context, token string) (Identity, error) {
	hash := Hash(fleet.Secret(token))
	for _, one := range t.static {
		if subtle.ConstantTimeCompare([]byte(one.Hash), []byte(hash)) == 1 {
			return newIdentity(one.Name, one.Scope), nil
		}
	}
	stored, err := t.store.FindByHash(ctx, hash)
	switch {
	case fleet.KindOf(err) == fleet.NotFound && err != nil:
		return Identity{}, fleet.Errorf(fleet.Unauthorized, "this token is not known")
	case err != nil:
		return Identity{}, fmt.Errorf("cannot look the token up: %w", err)
	case subtle.ConstantTimeCompare([]byte(stored.Hash), []byte(hash)) != 1:
		return Identity{}, fleet.Errorf(fleet.Unauthorized, "this token is not known")
	}
	now := time.Now()
	if expired(stored, now) {
		return Identity{}, fleet.Errorf(fleet.Unauthorized, "this token has expired")
	}
	t.touch(ctx, stored.Name, now)
	return newIdentity(stored.Name, stored.Scope), nil
}

// expired says whether a token opens nothing any more.
func expired(token fleet.StoredToken, now time.Time) bool {
	return !token.ExpiresAt.IsZero() && !now.Before(token.ExpiresAt)
}

// touch notes the use of a token, at most once in touchEvery. That it could not
// be noted is no reason to refuse the caller.
func (t *tokens) touch(ctx context.Context, name string, now time.Time) {
	t.mu.Lock()
	due := now.Sub(t.used[name]) >= touchEvery
	if due {
		t.used[name] = now
	}
	t.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, touchTime)
	defer cancel()
	if err := t.store.Touch(ctx, name, now.UTC()); err != nil {
		t.log.WarnContext(ctx, "Use of a token not noted", "error", err)
	}
}
