package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

// fakeSettings are settings in memory.
type fakeSettings struct {
	values map[string]string
	err    error
}

func (f *fakeSettings) Get(_ context.Context, key string) (string, bool, error) {
	value, set := f.values[key]
	return value, set, f.err
}

func (f *fakeSettings) Set(_ context.Context, key, value string) error {
	if f.values == nil {
		f.values = map[string]string{}
	}
	f.values[key] = value
	return f.err
}

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	store := &fakeSettings{}
	first, err := loadSecrets(t.Context(), store, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadSecrets(t.Context(), store, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again, cmp.AllowUnexported(secrets{})); diff != "" {
		t.Error(diff)
	}
	if len(first.fleet) != 8 || len(first.edge) < 32 || len(first.session) < 32 || !strings.HasSuffix(first.probeHost, ".spawner.invalid") {
		t.Errorf("made fleet %q, a secret of %d, a key of %d, host %q", first.fleet, len(first.edge), len(first.session), first.probeHost)
	}
	if _, err := tls.X509KeyPair([]byte(first.certificate), []byte(first.key)); err != nil {
		t.Error(err)
	}
	other, err := loadSecrets(t.Context(), &fakeSettings{}, "")
	if err != nil || other.edge == first.edge || other.fleet == first.fleet {
		t.Errorf("two installations share a secret: %v", err)
	}
}

func TestAFleetIsAdoptedOnceAndThenHeldTo(t *testing.T) {
	store := &fakeSettings{}
	for _, adopted := range []string{"harbour", "", "harbour"} {
		if s, err := loadSecrets(t.Context(), store, adopted); err != nil || s.fleet != "harbour" {
			t.Fatalf("--fleet %q: got %q, %v", adopted, s.fleet, err)
		}
	}
	_, err := loadSecrets(t.Context(), store, "other")
	var e *fleet.Error
	if !errors.As(err, &e) || e.Field != "--fleet" {
		t.Errorf("got %v", err)
	}
}

func TestSecretsThatCannotBeReadAreNotMadeAnew(t *testing.T) {
	broken := &fakeSettings{err: errors.New("disk")}
	if _, err := loadSecrets(t.Context(), broken, ""); !errors.Is(err, broken.err) || len(broken.values) > 0 {
		t.Errorf("got %v, stored %v", err, broken.values)
	}
}
