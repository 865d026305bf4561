package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"edgespawner/fleet"
)

// dockerContext is what the docker command knows of an engine.
type dockerContext struct {
	endpoint string
	tls      *fleet.NodeTLS // nil = none
}

// dockerContext reads a context of the docker command: its folder is named by
// the hash of its name, with the certificates in a folder beside it.
func (a *app) dockerContext(name string) (dockerContext, error) {
	if name == "default" { // docker keeps nothing of it
		return dockerContext{}, errors.New("docker's context default is the engine of this machine, and names no way to it from elsewhere: give its --endpoint")
	}
	root, err := a.dockerFolder()
	if err != nil {
		return dockerContext{}, err
	}
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	data, err := os.ReadFile(filepath.Join(root, "contexts", "meta", id, "meta.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dockerContext{}, fmt.Errorf("there is no docker context %q below %s; 'docker context ls' lists them", name, root)
	case err != nil:
		return dockerContext{}, fmt.Errorf("cannot read the docker context %q: %w", name, err)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return dockerContext{}, fmt.Errorf("cannot read the docker context %q: %w", name, err)
	}
	engine, known := meta.Endpoints["docker"]
	switch {
	case !known || engine.Host == "":
		return dockerContext{}, fmt.Errorf("the docker context %q names no engine", name)
	case engine.SkipTLSVerify:
		return dockerContext{}, fmt.Errorf("the docker context %q does not check the engine's certificate: a node's is always checked; give --endpoint and --tls-ca", name)
	}
	imported := dockerContext{endpoint: engine.Host}
	imported.tls, err = contextCertificates(filepath.Join(root, "contexts", "tls", id, "docker"))
	return imported, err
}

// contextCertificates reads a context's PEM files; nil when it has none.
func contextCertificates(dir string) (*fleet.NodeTLS, error) {
	var found fleet.NodeTLS
	for _, part := range []struct {
		file string
		take func(text string)
	}{
		{"ca.pem", func(text string) { found.CA = text }},
		{"cert.pem", func(text string) { found.Cert = text }},
		{"key.pem", func(text string) { found.Key = fleet.Secret(text) }},
	} {
		text, err := os.ReadFile(filepath.Join(dir, part.file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the context's certificates: %w", err)
		}
		part.take(string(text))
	}
	if found == (fleet.NodeTLS{}) {
		return nil, nil
	}
	return &found, nil
}

// dockerFolder is where the docker command keeps its configuration.
func (a *app) dockerFolder() (string, error) {
	if dir := a.env("DOCKER_CONFIG"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the docker command's folder: %w", err)
	}
	return filepath.Join(home, ".docker"), nil
}
