package fleet

import "time"

// Scope is what a token may do.
type Scope string

// The scopes. admin includes deploy and read; deploy includes read; edge
// opens the edge's feed and nothing else.
const (
	ScopeAdmin  Scope = "admin"
	ScopeDeploy Scope = "deploy"
	ScopeRead   Scope = "read"
	ScopeEdge   Scope = "edge"
)

// Token is a credential as it is listed: its secret is shown once, when made.
type Token struct {
	Name      string    `json:"name"`
	Scope     Scope     `json:"scope"`
	Token     string    `json:"token,omitempty"` // only in the answer that makes it
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero = never
	LastUsed  time.Time `json:"last_used,omitzero"`
}

// StoredToken is a token as the store keeps it.
type StoredToken struct {
	Token        // with an empty Token field
	Hash  string // hex SHA-256 of the token
}
