package docker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/registry"
)

// hubLogin is the name under which docker login files the public registry.
const (
	hubHost  = "docker.io"
	hubLogin = "https://index.docker.io/v1/"
)

// defaultLoginFile is where docker login writes.
func defaultLoginFile() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker", "config.json")
}

// loginFile is what is read of the file.
type loginFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"` // base64 of user:password
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
}

// credentials returns what the engine is to show the registry, in the engine's
// own encoding; empty when docker login does not know the host. The file is
// read anew each time: a login takes effect at the next pull. Credential
// helpers are programs of a desktop and are not run.
func (p *Pool) credentials(host string) (string, error) {
	if p.loginFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(p.loginFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the login file: %w", err)
	}
	var file loginFile
	if err := json.Unmarshal(content, &file); err != nil {
		return "", fmt.Errorf("cannot read the login file %s: it is no JSON of docker login", p.loginFile)
	}
	for key, entry := range file.Auths {
		if loginHost(key) != host {
			continue
		}
		auth := registry.AuthConfig{
			Username: entry.Username, Password: entry.Password, ServerAddress: key,
			IdentityToken: entry.IdentityToken, RegistryToken: entry.RegistryToken,
		}
		if entry.Auth != "" {
			plain, err := base64.StdEncoding.DecodeString(entry.Auth)
			if err != nil {
				return "", fmt.Errorf("cannot read the login of %s: it is no base64", host)
			}
			auth.Username, auth.Password, _ = strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
		}
		return registry.EncodeAuthConfig(auth)
	}
	return "", nil
}

// loginHost is the host that a key of the file is about: keys are hosts, or
// URLs as older logins wrote them.
func loginHost(key string) string {
	if key == hubLogin {
		return hubHost
	}
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		return hubHost
	}
	return host
}
