package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"edgespawner/fleet"
)

// AdminToken is the name of the first token.
const AdminToken = "admin"

// shortestAdmin is the least number of characters of an admin token in a file.
const shortestAdmin = 32

// EnsureAdminToken makes sure that somebody can get in. While the store has an
// admin token that has not expired, nothing is done. Else the token in the file at
// path is taken (the database was lost, or somebody put one there for the first
// start), or one is made and written there, with mode 0600, before it opens anything.
func (a *Authority) EnsureAdminToken(ctx context.Context, path string) (created bool, err error) {
	created, err = a.ensureAdmin(ctx, path)
	if err != nil {
		return false, fmt.Errorf("cannot provide the admin token in %s: %w", path, err)
	}
	return created, nil
}

func (a *Authority) ensureAdmin(ctx context.Context, path string) (created bool, err error) {
	stored, err := a.tokens.store.List(ctx)
	if err != nil {
		return false, err
	}
	if len(admins(stored, time.Now(), true)) > 0 {
		return false, nil
	}
	token, err := readToken(path)
	if err != nil {
		return false, err
	}
	if token == "" {
		token, created = NewToken(), true
		if err := writePrivate(path, token.Reveal()+"\n"); err != nil {
			return false, err
		}
	}
	return created, a.storeAdmin(ctx, token)
}

// storeAdmin stores the token under the first name that is not taken.
func (a *Authority) storeAdmin(ctx context.Context, token fleet.Secret) error {
	stored := fleet.StoredToken{Hash: Hash(token), Token: fleet.Token{Name: AdminToken, Scope: fleet.ScopeAdmin, CreatedAt: time.Now().UTC()}}
	for number := 2; ; number++ {
		err := a.tokens.store.Add(ctx, stored)
		if err == nil || fleet.KindOf(err) != fleet.Conflict || number > 100 {
			return err
		}
		stored.Name = fmt.Sprintf("%s-%d", AdminToken, number)
	}
}

// admins returns the names of the admin tokens that open something now; with
// mortal those too that will expire.
func admins(stored []fleet.StoredToken, now time.Time, mortal bool) (names []string) {
	for _, one := range stored {
		if one.Scope == fleet.ScopeAdmin && !expired(one, now) && (mortal || one.ExpiresAt.IsZero()) {
			names = append(names, one.Name)
		}
	}
	return names
}

// readToken returns the token in a file, and "" when there is none. It takes the
// rights of others off the file.
func readToken(path string) (fleet.Secret, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	strange := strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
	if token != "" && (len(token) < shortestAdmin || strange || isSession(token)) {
		return "", fleet.Errorf(fleet.Invalid, "the file holds no token: one line of at least %d letters and digits; delete it to have one made", shortestAdmin)
	}
	return fleet.Secret(token), os.Chmod(path, 0o600)
}

// writePrivate writes a file that only its owner reads; it appears whole and
// synced, or not at all.
func writePrivate(path, content string) error {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(directory, "."+filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // does nothing once it has been renamed
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	parent, err := os.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// KeepAdmin is a TokenStore that refuses to remove the last admin token that
// never expires: nobody locks themselves out.
func KeepAdmin(store TokenStore) TokenStore { return &keepAdmin{TokenStore: store} }

type keepAdmin struct {
	TokenStore
	mu sync.Mutex // makes one step of looking and removing
}

func (k *keepAdmin) Remove(ctx context.Context, name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	stored, err := k.List(ctx)
	if err != nil {
		return err
	}
	if left := admins(stored, time.Now(), false); len(left) == 1 && left[0] == name {
		return fleet.Errorf(fleet.Conflict, "%q is the last admin token that does not expire: make another one first", name)
	}
	return k.TokenStore.Remove(ctx, name)
}
