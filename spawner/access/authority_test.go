package access

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

const alicesPassword = "correct horse"

// site is an Authority with what it goes by.
type site struct {
	*Authority
	store  *memory
	events *record
	file   string // the password file: alice
}

func newSite(t *testing.T, change ...func(*Config)) site {
	t.Helper()
	s := site{store: &memory{}, events: &record{}, file: filepath.Join(t.TempDir(), "users")}
	s.write(t, line("alice", alicesPassword))
	config := Config{Tokens: s.store, PasswordFile: s.file, Events: s.events.add, Log: slog.New(slog.DiscardHandler)}
	for _, one := range change {
		one(&config)
	}
	authority, err := New(config)
	must(t, err)
	s.Authority = authority
	return s
}

func (s site) write(t *testing.T, lines ...string) {
	t.Helper()
	must(t, os.WriteFile(s.file, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

func line(user, password string) string { return user + "," + Hash(fleet.Secret(password)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, want fleet.Kind) {
	t.Helper()
	if err == nil || fleet.KindOf(err) != want {
		t.Errorf("got error %v of kind %v, want kind %v", err, fleet.KindOf(err), want)
	}
}

// request makes a request from an address with headers, given in pairs.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/services", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func basic(user, password string) *http.Request {
	r := request()
	r.SetBasicAuth(user, password)
	return r
}

func TestEveryScopeOpensWhatItShouldAndNothingElse(t *testing.T) {
	all := []fleet.Scope{fleet.ScopeAdmin, fleet.ScopeDeploy, fleet.ScopeRead, fleet.ScopeEdge}
	for scope, want := range map[fleet.Scope]string{
		fleet.ScopeAdmin: "admin deploy read ", fleet.ScopeDeploy: "deploy read ", fleet.ScopeRead: "read ", fleet.ScopeEdge: "edge ", "unheard-of": "", "": "",
	} {
		s := newSite(t)
		bearer := "Bearer " + s.store.give("ci", scope, time.Time{})
		got := ""
		for _, wanted := range all {
			by, err := s.Authorize(request("Authorization", bearer), wanted)
			if err == nil {
				got += string(wanted) + " "
			} else {
				wantKind(t, err, fleet.Forbidden)
			}
			if by != "ci" {
				t.Errorf("got the name %q", by)
			}
		}
		if got != want {
			t.Errorf("%q opens %q, want %q", scope, got, want)
		}
	}
}

func TestEveryWayToShowACredentialIsTaken(t *testing.T) {
	s := newSite(t)
	token := s.store.give("ci", fleet.ScopeRead, time.Time{})
	session, err := s.Login(t.Context(), "alice", alicesPassword, "10.0.0.1")
	must(t, err)
	for name, r := range map[string]*http.Request{
		"ci 1": request("Authorization", "Bearer "+token), "ci 2": request("Authorization", "bearer  "+token), "ci 3": request("Token", token),
		"alice 1": basic("alice", alicesPassword), "alice 2": request("token", session), "alice 3": request("Authorization", "Bearer "+session),
	} {
		identity, err := s.Authenticate(r)
		if err != nil || identity.Name != strings.Fields(name)[0] {
			t.Errorf("%s: got %+v, %v", name, identity, err)
		}
	}
}

func TestWithoutAGoodCredentialNobodyComesIn(t *testing.T) {
	s := newSite(t)
	token := s.store.give("ci", fleet.ScopeAdmin, time.Time{})
	stored, err := s.store.List(t.Context())
	must(t, err)
	two := request("Authorization", "Bearer "+token, "Authorization", "Bearer "+token)
	for name, r := range map[string]*http.Request{
		"none": request(), "empty": request("Authorization", ""), "scheme": request("Authorization", "Digest x"), "no token": request("Authorization", "Bearer"),
		"unknown": request("Authorization", "Bearer "+token+"x"), "hash": request("Authorization", "Bearer "+stored[0].Hash),
		"broken basic": request("Authorization", "Basic !"), "two": two, "token as password": basic("ci", token),
		"session": request("token", "session_"), "long session": request("token", "session_"+strings.Repeat("A", 100)), "password in token": request("token", alicesPassword),
	} {
		identity, err := s.Authenticate(r)
		if fleet.KindOf(err) != fleet.Unauthorized || len(identity.Scopes) != 0 {
			t.Errorf("%s: got %+v, %v", name, identity, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func TestATokenExpiresAndItsUseIsNotedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		r := request("Authorization", "Bearer "+s.store.give("ci", fleet.ScopeRead, time.Now().Add(time.Hour)))
		for range 3 {
			_, err := s.Authenticate(r)
			must(t, err)
		}
		if s.store.touched != 1 || !s.store.tokens[0].LastUsed.Equal(time.Now()) {
			t.Errorf("noted %d times: %v", s.store.touched, s.store.tokens[0].LastUsed)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		_, err := s.Authenticate(r)
		must(t, err)
		if s.store.touched != 2 {
			t.Errorf("noted %d times, want 2", s.store.touched)
		}
		time.Sleep(time.Nanosecond)
		_, err = s.Authenticate(r)
		wantKind(t, err, fleet.Unauthorized)
	})
}

func TestARemovedTokenOpensNothing(t *testing.T) {
	s := newSite(t)
	r := request("token", s.store.give("ci", fleet.ScopeRead, time.Time{}))
	_, err := s.Authenticate(r)
	must(t, err)
	must(t, s.store.Remove(t.Context(), "ci"))
	_, err = s.Authenticate(r)
	wantKind(t, err, fleet.Unauthorized)
}

func TestAStoreThatFailsIsNotARefusal(t *testing.T) {
	s := newSite(t)
	s.store.broken = errors.New("disk on fire")
	_, err := s.Authenticate(request("token", "whatever"))
	wantKind(t, err, fleet.Internal)
	s.store.broken = fleet.Errorf(fleet.Unavailable, "busy")
	_, err = s.Authenticate(request("token", "whatever"))
	wantKind(t, err, fleet.Unavailable)
}

func TestTokensOfTheConfigurationNeedNoStore(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Static = []StaticToken{{Name: "edge", Token: "0123456789abcdef", Scope: fleet.ScopeEdge}}
	})
	s.store.broken = errors.New("disk on fire")
	by, err := s.Authorize(request("Authorization", "Bearer 0123456789abcdef"), fleet.ScopeEdge)
	if err != nil || by != "edge" {
		t.Errorf("got %q, %v", by, err)
	}
	_, err = s.Authorize(request("Authorization", "Bearer 0123456789abcdef"), fleet.ScopeRead)
	wantKind(t, err, fleet.Forbidden)
}

func TestAWrongConfigurationIsRefusedWithAllThatIsWrong(t *testing.T) {
	_, err := New(Config{PasswordFile: filepath.Join(t.TempDir(), "none"), Static: []StaticToken{
		{Name: "short", Token: "secret", Scope: fleet.ScopeEdge}, {Name: "odd", Token: "session_0123456789", Scope: "x"}}})
	for _, want := range []string{"token short", "token odd", "session_", "cannot read the password file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a token: %v", err)
	}
}

func TestALoginExpiresAfterTwelveHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		token, err := s.Login(t.Context(), "alice", alicesPassword, "10.0.0.1:5000")
		must(t, err)
		time.Sleep(sessionLifetime - time.Second)
		identity, err := s.Authenticate(request("token", token))
		must(t, err)
		if d := cmp.Diff(Identity{Name: "alice", Scopes: []fleet.Scope{fleet.ScopeDeploy, fleet.ScopeRead}}, identity); d != "" {
			t.Error(d)
		}
		time.Sleep(time.Second)
		_, err = s.Authenticate(request("token", token))
		wantKind(t, err, fleet.Unauthorized)
	})
}

func TestALoginEndsWithItsPasswordAndSurvivesARestartWithTheSameKey(t *testing.T) {
	key := []byte("a key of the store")
	s := newSite(t, func(c *Config) { c.SessionKey = key })
	token, err := s.Login(t.Context(), "alice", alicesPassword, "")
	must(t, err)
	restarted := newSite(t, func(c *Config) { c.SessionKey = key })
	if _, err := restarted.Authenticate(request("token", token)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	other := newSite(t)
	_, err = other.Authenticate(request("token", token))
	wantKind(t, err, fleet.Unauthorized)
	restarted.write(t, line("alice", "changed"))
	_, err = restarted.Authenticate(request("token", token))
	wantKind(t, err, fleet.Unauthorized)
	s.write(t, line("bob", alicesPassword))
	_, err = s.Authenticate(request("token", token))
	wantKind(t, err, fleet.Unauthorized)
}

func TestNoBitOfALoginsTokenMayChange(t *testing.T) {
	s := newSite(t)
	token, err := s.Login(t.Context(), "alice", alicesPassword, "")
	must(t, err)
	for i := range token {
		for _, c := range []byte("A_z") {
			changed := []byte(token)
			changed[i] = c
			if string(changed) == token {
				continue
			}
			if _, err := s.Authenticate(request("token", string(changed))); fleet.KindOf(err) != fleet.Unauthorized {
				t.Fatalf("byte %d changed to %c: %v", i, c, err)
			}
		}
	}
}

func TestAccountsMayDeployAndNoMore(t *testing.T) {
	s := newSite(t)
	_, err := s.Authorize(basic("alice", alicesPassword), fleet.ScopeDeploy)
	must(t, err)
	_, err = s.Authorize(basic("alice", alicesPassword), fleet.ScopeAdmin)
	wantKind(t, err, fleet.Forbidden)
}

func TestWithoutAPasswordFileThereAreNoAccounts(t *testing.T) {
	s := newSite(t, func(c *Config) { c.PasswordFile = "" })
	_, err := s.Login(t.Context(), "alice", alicesPassword, "")
	wantKind(t, err, fleet.Unauthorized)
}

func TestAnAccountThatDoesNotExistIsAnsweredLikeAWrongPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		answers := map[string]string{}
		for _, user := range []string{"alice", "nobody", ""} {
			for range 4 {
				_, err := s.Login(t.Context(), user, "wrong", "10.0.0.1")
				var shown *fleet.Error
				errors.As(err, &shown)
				answers[user] += fmt.Sprintf("%+v %v;", shown, shown.RetryAfter)
				time.Sleep(1500 * time.Millisecond)
			}
		}
		if answers["alice"] != answers["nobody"] || answers["alice"] != answers[""] {
			t.Errorf("the answers differ: %v", answers)
		}
	})
}
