package access

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func hexOf(one account) string { return hex.EncodeToString(one.hash[:]) }

// ensure calls EnsureAdminToken and returns the file's content.
func (s site) ensure(t *testing.T, path string, wantCreated bool) (token string) {
	t.Helper()
	created, err := s.EnsureAdminToken(t.Context(), path)
	must(t, err)
	if created != wantCreated {
		t.Errorf("created: %v, want %v", created, wantCreated)
	}
	content, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, want 0600", info.Mode())
	}
	return strings.TrimSuffix(string(content), "\n")
}

func TestTheFirstStartMakesAnAdminTokenAndLaterOnesDoNot(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(t.TempDir(), "state", "admin-token")
	token := s.ensure(t, path, true)
	by, err := s.Authorize(request("Authorization", "Bearer "+token), fleet.ScopeAdmin)
	if err != nil || by != AdminToken {
		t.Errorf("got %q, %v", by, err)
	}
	if again := s.ensure(t, path, false); again != token || len(s.store.tokens) != 1 {
		t.Errorf("the token changed, or there are %d", len(s.store.tokens))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	must(t, os.Remove(path)) // somebody put it in a safe place
	if created, err := s.EnsureAdminToken(t.Context(), path); created || err != nil {
		t.Errorf("got %v, %v", created, err)
	}
}

func TestAfterALostDatabaseTheTokenInTheFileOpensAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin-token")
	token := newSite(t).ensure(t, path, true)
	must(t, os.Chmod(path, 0o644))
	s := newSite(t)
	if again := s.ensure(t, path, false); again != token {
		t.Error("the token changed")
	}
	if _, err := s.Authorize(request("token", token), fleet.ScopeAdmin); err != nil {
		t.Error(err)
	}
}

func TestAnAdminTokenIsMadeWhenAllHaveExpired(t *testing.T) {
	s := newSite(t)
	s.store.give(AdminToken, fleet.ScopeAdmin, time.Now().Add(-time.Hour))
	s.store.give("ci", fleet.ScopeDeploy, time.Time{})
	token := s.ensure(t, filepath.Join(t.TempDir(), "admin-token"), true)
	by, err := s.Authorize(request("token", token), fleet.ScopeAdmin)
	if err != nil || by != AdminToken+"-2" {
		t.Errorf("got %q, %v", by, err)
	}
}

func TestAFileThatHoldsNoTokenIsLeftAloneAndRefused(t *testing.T) {
	for _, content := range []string{"short", strings.Repeat("a", 20) + "\n" + strings.Repeat("a", 20), "session_" + strings.Repeat("a", 40)} {
		path := filepath.Join(t.TempDir(), "admin-token")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		s := newSite(t)
		_, err := s.EnsureAdminToken(t.Context(), path)
		wantKind(t, err, fleet.Invalid)
		if after, _ := os.ReadFile(path); string(after) != content || len(s.store.tokens) != 0 {
			t.Errorf("%q became %q, with %d tokens", content, after, len(s.store.tokens))
		}
		if err != nil && strings.Contains(err.Error(), content) {
			t.Errorf("the error shows the content: %v", err)
		}
	}
}

func TestAnAdminTokenThatCannotBeWrittenOpensNothing(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := s.EnsureAdminToken(t.Context(), filepath.Join(file, "admin-token")); err == nil || len(s.store.tokens) != 0 {
		t.Errorf("got %v and %d tokens", err, len(s.store.tokens))
	}
}

func TestTheLastAdminTokenStays(t *testing.T) {
	store := &memory{}
	kept := KeepAdmin(store)
	store.give("first", fleet.ScopeAdmin, time.Time{})
	store.give("mortal", fleet.ScopeAdmin, time.Now().Add(time.Hour))
	store.give("ci", fleet.ScopeDeploy, time.Time{})
	wantKind(t, kept.Remove(t.Context(), "first"), fleet.Conflict)
	store.give("second", fleet.ScopeAdmin, time.Time{})
	must(t, kept.Remove(t.Context(), "first"))
	wantKind(t, kept.Remove(t.Context(), "second"), fleet.Conflict)
	must(t, kept.Remove(t.Context(), "mortal"))
	must(t, kept.Remove(t.Context(), "ci"))
	wantKind(t, kept.Remove(t.Context(), "none"), fleet.NotFound)
}
