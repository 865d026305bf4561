package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"edgespawner/fleet"
)

// accountScope is what every account of the password file may do.
const accountScope = fleet.ScopeDeploy

// TokenStore keeps tokens by the hash of their secret.
type TokenStore interface {
	// Add is Conflict when the name is taken.
	Add(ctx context.Context, token fleet.StoredToken) error
	// Remove is NotFound for an unknown name.
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]fleet.StoredToken, error)
	// FindByHash is NotFound for an unknown hash; it returns expired tokens too.
	FindByHash(ctx context.Context, hash string) (fleet.StoredToken, error)
	// Touch notes when a token was last used.
	Touch(ctx context.Context, name string, at time.Time) error
}

// Config is what an Authority goes by.
type Config struct {
	Tokens TokenStore    // required
	Static []StaticToken // given by the configuration, beside the stored ones

	PasswordFile string // its accounts have the scope deploy; empty = no accounts

	// SessionKey signs the tokens of logins. Empty = made by New, and a restart ends all sessions.
	SessionKey []byte

	Events func(fleet.Event) // told of refused logins; nil = nobody. It must not block.
	Log    *slog.Logger
}

// Authority turns a request into who calls. It is safe for concurrent use.
type Authority struct {
	tokens   *tokens
	accounts *accountFile
	sessions sessions
	failures *throttle
	reports  *reports
}

// New makes an Authority and reads the password file. Errors name all that is
// wrong with the configuration.
func New(config Config) (*Authority, error) {
	var errs []error
	static, err := hashStatic(config.Static)
	errs = append(errs, err)
	reports := newReports(config.Events)
	accounts, err := openAccounts(config.PasswordFile, config.Log, reports)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return &Authority{
		tokens:   &tokens{store: config.Tokens, static: static, log: config.Log, used: map[string]time.Time{}},
		accounts: accounts,
		sessions: newSessions(config.SessionKey),
		failures: newThrottle(maxPairs),
		reports:  reports,
	}, nil
}

// Authorize returns the name of who calls: Unauthorized without a good
// credential, Busy while its logins are slowed, Forbidden when it does not open scope.
func (a *Authority) Authorize(r *http.Request, scope fleet.Scope) (by string, err error) {
	identity, err := a.Authenticate(r)
	if err != nil {
		return "", err
	}
	return identity.Name, identity.Require(scope)
}

// Authenticate returns who calls, by a bearer token, by basic authentication, or
// by a token in the header named token (the direct-routing API's way). It is
// Unauthorized without a good credential and Busy while its logins are slowed.
func (a *Authority) Authenticate(r *http.Request) (Identity, error) {
	values := r.Header.Values("Authorization")
	switch {
	case len(values) > 1:
		return Identity{}, fleet.Errorf(fleet.Unauthorized, "more than one Authorization header")
	case len(values) == 0 && r.Header.Get("token") != "":
		return a.byToken(r, r.Header.Get("token"))
	case len(values) == 0:
		return Identity{}, fleet.Errorf(fleet.Unauthorized, "a credential is needed: a bearer token, or a user name and a password")
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return a.byToken(r, strings.TrimSpace(rest))
	case "basic":
		user, password, ok := r.BasicAuth()
		if !ok {
			return Identity{}, fleet.Errorf(fleet.Unauthorized, "the basic authentication is malformed")
		}
		return a.byPassword(user, password, r.RemoteAddr)
	}
	return Identity{}, fleet.Errorf(fleet.Unauthorized, "the authentication scheme is neither bearer nor basic")
}

// Login trades a user name and a password for a token that opens the same for
// some hours, or until the account's password changes. The address is that of
// the caller, with or without a port. Unauthorized for a wrong name or
// password, Busy while logins of this account from this address are slowed.
func (a *Authority) Login(_ context.Context, user, password, address string) (token string, err error) {
	account, err := a.check(user, password, address)
	if err != nil {
		return "", err
	}
	return a.sessions.issue(account), nil
}

func (a *Authority) byPassword(user, password, address string) (Identity, error) {
	account, err := a.check(user, password, address)
	if err != nil {
		return Identity{}, err
	}
	return newIdentity(account.name, accountScope), nil
}

// check compares a password, slowly for those who failed before.
func (a *Authority) check(user, password, address string) (account, error) {
	from := host(address)
	found, known := a.accounts.find(user)
	ok, wait := a.failures.attempt(pairOf(user, from), func() bool { return found.matches(password) && known })
	switch {
	case ok:
		return found, nil
	case wait.refused:
		return account{}, &fleet.Error{Kind: fleet.Busy, RetryAfter: wait.delay, Message: fmt.Sprintf(
			"too many failed logins of this account from this address: try again in %s", wait.delay.Round(time.Second))}
	}
	a.reports.loginRefused(found.name, from)
	return account{}, &fleet.Error{Kind: fleet.Unauthorized, Message: "wrong user name or password", RetryAfter: wait.delay}
}

// byToken finds a token of a login, of the configuration or of the store.
func (a *Authority) byToken(r *http.Request, token string) (identity Identity, err error) {
	if isSession(token) {
		var name string
		name, err = a.sessions.verify(token, a.accounts.find)
		identity = newIdentity(name, accountScope)
	} else {
		identity, err = a.tokens.find(r.Context(), token)
	}
	if err != nil && fleet.KindOf(err) == fleet.Unauthorized {
		a.reports.tokenRefused(host(r.RemoteAddr))
	}
	if err != nil {
		return Identity{}, err
	}
	return identity, nil
}
