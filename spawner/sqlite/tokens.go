package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"edgespawner/fleet"
)

// Tokens is the view of credentials. The tokens themselves are not stored.
type Tokens struct{ store *Store }

// Tokens returns the view of tokens.
func (s *Store) Tokens() Tokens { return Tokens{s} }

const tokenColumns = "name, scope, hash, created_at, expires_at, last_used"

// Add stores a token. It is a Conflict when its name is taken.
func (v Tokens) Add(ctx context.Context, token fleet.StoredToken) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?)",
			token.Name, token.Scope, token.Hash, stamp(orNow(token.CreatedAt)), stamp(token.ExpiresAt), stamp(token.LastUsed))
		return err
	})
	if duplicate(err) {
		return fleet.Errorf(fleet.Conflict, "there is a token %q already", token.Name)
	}
	return failed(err, "store token %q", token.Name)
}

// Remove removes a token; it opens nothing from then on.
func (v Tokens) Remove(ctx context.Context, name string) error {
	err := v.store.write(ctx, synced, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM tokens WHERE name = ?", name)
		return touched(result, err, "token", name)
	})
	return failed(err, "remove token %q", name)
}

// List returns the tokens, by name.
func (v Tokens) List(ctx context.Context) ([]fleet.StoredToken, error) {
	tokens, err := query(ctx, v.store.reader, scanToken, "SELECT "+tokenColumns+" FROM tokens ORDER BY name")
	return tokens, failed(err, "list the tokens")
}

// FindByHash returns the token with that hash, expired or not; NotFound when there is none.
func (v Tokens) FindByHash(ctx context.Context, hash string) (fleet.StoredToken, error) {
	token, err := scanToken(v.store.reader.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash))
	if errors.Is(err, sql.ErrNoRows) {
		err = fleet.Errorf(fleet.NotFound, "there is no such token")
	}
	return token, failed(err, "look a token up")
}

// Touch notes when a token was last used; an earlier time than the one noted changes nothing.
func (v Tokens) Touch(ctx context.Context, name string, at time.Time) error {
	err := v.store.write(ctx, noted, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE tokens SET last_used = max(last_used, ?) WHERE name = ?", stamp(at), name)
		return touched(result, err, "token", name)
	})
	return failed(err, "note the use of token %q", name)
}

func scanToken(row scanner) (fleet.StoredToken, error) {
	var token fleet.StoredToken
	var created, expires, used int64
	err := row.Scan(&token.Name, &token.Scope, &token.Hash, &created, &expires, &used)
	token.CreatedAt, token.ExpiresAt, token.LastUsed = moment(created), moment(expires), moment(used)
	return token, err
}
