package api

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"edgespawner/fleet"
	"edgespawner/spawner/access"
)

var (
	tokenName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	scopes    = []fleet.Scope{fleet.ScopeAdmin, fleet.ScopeDeploy, fleet.ScopeRead, fleet.ScopeEdge}
)

// maxLifetime keeps an expiry within what a time can hold.
const maxLifetime = fleet.Duration(100 * 365 * 24 * time.Hour)

type tokenBody struct {
	Name      string         `json:"name"`
	Scope     fleet.Scope    `json:"scope"`
	ExpiresIn fleet.Duration `json:"expires_in,omitempty"` // 0 = never
}

func (b tokenBody) validate() error {
	switch {
	case !tokenName.MatchString(b.Name):
		return fleet.InvalidField("name", "%q is not a name: 1 to 63 letters, digits, and . _ - after the first", b.Name)
	case !slices.Contains(scopes, b.Scope):
		return fleet.InvalidField("scope", "%q is not one of admin, deploy, read, edge", string(b.Scope))
	case b.ExpiresIn < 0 || b.ExpiresIn > maxLifetime:
		return fleet.InvalidField("expires_in", "%s is not between 0s (never) and %s", b.ExpiresIn, maxLifetime)
	}
	return nil
}

func (a *API) tokens(w http.ResponseWriter, r *request) error {
	stored, err := a.config.Tokens.List(r.Context())
	if err != nil {
		return err
	}
	tokens := make([]fleet.Token, len(stored))
	for i, s := range stored {
		s.Token.Token = ""
		tokens[i] = s.Token
	}
	return writeJSON(w, http.StatusOK, tokens)
}

// addToken makes a token. Only its hash is stored.
func (a *API) addToken(w http.ResponseWriter, r *request) error {
	var body tokenBody
	if err := r.decode(w, &body); err != nil {
		return err
	}
	if err := body.validate(); err != nil {
		return err
	}
	secret := access.NewToken()
	token := fleet.Token{Name: body.Name, Scope: body.Scope, CreatedAt: time.Now().UTC()}
	if body.ExpiresIn > 0 {
		token.ExpiresAt = token.CreatedAt.Add(body.ExpiresIn.Std())
	}
	if err := a.config.Tokens.Add(r.Context(), fleet.StoredToken{Token: token, Hash: access.Hash(secret)}); err != nil {
		return err
	}
	a.noteAccess(r, "Token %s (scope %s) made by %s", token.Name, token.Scope, r.by)
	token.Token = secret.Reveal()
	return writeJSON(w, http.StatusCreated, token)
}

func (a *API) removeToken(w http.ResponseWriter, r *request) error {
	if err := a.config.Tokens.Remove(r.Context(), r.name("name")); err != nil {
		return err
	}
	a.noteAccess(r, "Token %s removed by %s", r.name("name"), r.by)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// noteAccess records a change of who may call.
func (a *API) noteAccess(r *request, format string, args ...any) {
	a.config.Records.Record(fleet.Event{Type: fleet.EventAccess, Message: fmt.Sprintf(format, args...), By: r.by})
}
