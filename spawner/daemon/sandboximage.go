package daemon

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sandboxRootFS opens the root file system of the sandbox's image: its program alone.
func (s *spawner) sandboxRootFS() (io.ReadCloser, error) {
	path := s.config.SandboxBinary
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("cannot find this program: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "sandbox")
	}
	return rootFS(path, "sandbox")
}

// rootFS is a tar archive that holds one program.
func rootFS(path, name string) (io.ReadCloser, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the program %s: %w", path, err)
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	if err := writer.WriteHeader(&tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o755, Size: int64(len(data))}); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	if _, err := writer.Write(data); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("cannot pack %s: %w", path, err)
	}
	return io.NopCloser(&archive), nil
}
