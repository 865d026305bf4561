package access

import (
	"slices"

	"edgespawner/fleet"
)

// includes lists what each scope opens.
var includes = map[fleet.Scope][]fleet.Scope{
	fleet.ScopeAdmin:  {fleet.ScopeAdmin, fleet.ScopeDeploy, fleet.ScopeRead},
	fleet.ScopeDeploy: {fleet.ScopeDeploy, fleet.ScopeRead},
	fleet.ScopeRead:   {fleet.ScopeRead},
	fleet.ScopeEdge:   {fleet.ScopeEdge},
}

// Identity is who calls.
type Identity struct {
	Name   string        // of the token or the account
	Scopes []fleet.Scope // all that it opens; the widest first
}

// newIdentity makes an identity of a scope; an unknown scope opens nothing.
func newIdentity(name string, scope fleet.Scope) Identity {
	return Identity{Name: name, Scopes: includes[scope]}
}

// Allows says whether the identity opens scope.
func (i Identity) Allows(scope fleet.Scope) bool { return slices.Contains(i.Scopes, scope) }

// Require returns Forbidden unless the identity opens scope.
func (i Identity) Require(scope fleet.Scope) error {
	if i.Allows(scope) {
		return nil
	}
	return fleet.Errorf(fleet.Forbidden, "this needs the scope %s, which %q does not have", scope, i.Name)
}
