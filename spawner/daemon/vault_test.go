package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsSealedForANodeOpensForItAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	sealed, err := (&vault{path: path}).seal("n1", []byte("very-secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("it is not encrypted")
	}
	again := &vault{path: path} // another process
	if plain, err := again.open("n1", sealed); err != nil || string(plain) != "very-secret" {
		t.Errorf("got %q, %v", plain, err)
	}
	if plain, err := again.open("n2", sealed); err == nil {
		t.Errorf("another node opens it: %q", plain)
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, err := again.open("n1", broken); err == nil {
			t.Fatalf("byte %d may be changed", i)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
}

func TestALostKeyIsSaidAndAnotherOneToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	sealed, err := (&vault{path: path}).seal("n1", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	v := &vault{path: path}
	if _, err := v.open("n1", sealed); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
	if _, err := v.seal("n2", []byte("y")); err != nil { // a new key is made
		t.Fatal(err)
	}
	if _, err := v.open("n1", sealed); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("got %v", err)
	}
}
