package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// envFilePath is where an installation leaves its URL and token, below the
// folder that it was started from.
var envFilePath = filepath.Join(".spawner", "env")

// maxEnvFile is how much of such a file is read, in bytes.
const maxEnvFile = 64 << 10

// envFile is what such a file says.
type envFile struct{ url, token string }

// findEnvFile looks for .spawner/env in dir and above it; the zero envFile when
// there is none. Folders that everybody may write to are passed over, and a
// file of another user is refused: it could lead commands and tokens astray.
func findEnvFile(dir string) (envFile, error) {
	for dir != "" {
		path := filepath.Join(dir, envFilePath)
		data, err := readOwn(dir, path)
		if err == nil {
			return parseEnvFile(string(data)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return envFile{}, fmt.Errorf("cannot use %s: %w", path, err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return envFile{}, nil
}

func readOwn(dir, path string) ([]byte, error) {
	const othersWrite = 0o002
	if folder, err := os.Stat(dir); err != nil || folder.Mode().Perm()&othersWrite != 0 {
		return nil, fs.ErrNotExist
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		self := os.Getuid()
		if owner := int(status.Uid); self != 0 && owner != 0 && owner != self {
			return nil, errors.New("it belongs to another user; give --host and --token")
		}
	}
	return io.ReadAll(io.LimitReader(file, maxEnvFile))
}

// parseEnvFile reads lines such as export SPAWNER_URL='http://127.0.0.1:8008'.
func parseEnvFile(text string) envFile {
	var file envFile
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		switch key {
		case "SPAWNER_URL":
			file.url = unquote(value)
		case "SPAWNER_TOKEN":
			file.token = unquote(value)
		}
	}
	return file
}

func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}

// sameURL says whether two URLs of spawners are the same place; empty = the default.
func sameURL(a, b string) bool {
	clean := func(url string) string {
		if url == "" {
			url = defaultURL
		}
		return strings.ToLower(strings.TrimRight(url, "/"))
	}
	return clean(a) == clean(b)
}
