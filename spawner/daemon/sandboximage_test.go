package daemon

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestTheSandboxsRootFileSystemHoldsItsProgramAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "built-sandbox")
	if err := os.WriteFile(path, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	archive, err := rootFS(path, "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(archive)
	header, err := reader.Next()
	if err != nil || header.Name != "sandbox" || header.Mode != 0o755 {
		t.Fatalf("holds %+v: %v", header, err)
	}
	if content, err := io.ReadAll(reader); err != nil || string(content) != "program" {
		t.Errorf("holds %q: %v", content, err)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("holds more than the program: %v", err)
	}
	if _, err := rootFS(path+"-gone", "sandbox"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
