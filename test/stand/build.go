package stand

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// The images that every stand may use; build_project.sh makes them.
const (
	SandboxImage = "spawner-sandbox:latest"
	MockAppImage = "mock-app:latest"
	MockHome     = "mock-home:latest"
)

// traefikVersion is the pin that an edge of a test runs; TRAEFIK_BINARY names another.
const traefikVersion = "v3.7.9"

// built is made once a process, however many stands there are.
var built = struct {
	once sync.Once
	root string
	err  error
}{}

// Root returns the repository's root, with binaries in bin/ and images on the
// engine that are those of the present sources.
func Root(t T) string {
	t.Helper()
	built.once.Do(func() { built.root, built.err = build() })
	must(t, built.err, "build")
	return built.root
}

func build() (string, error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	if os.Getenv("SPAWNER_BUILT") == root { // build_project.sh test has just built everything
		return root, nil
	}
	command := exec.Command(filepath.Join(root, "build_project.sh"), "images")
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return root, nil
}

// findRoot goes up from the working directory to the folder of build_project.sh.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "build_project.sh")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no build_project.sh above the working directory")
		}
		dir = parent
	}
}

// CacheDir is where build_project.sh keeps what takes minutes to build.
func CacheDir() string {
	if dir := os.Getenv("SPAWNER_CACHE"); dir != "" {
		return dir
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "spawner")
}

// traefikBinary returns the stock Traefik, building it when this machine has none yet.
func traefikBinary(t T) string {
	t.Helper()
	if named := os.Getenv("TRAEFIK_BINARY"); named != "" {
		return named
	}
	return tool(t, "traefik", "traefik-"+traefikVersion)
}

// tool returns a program of the cache that build_project.sh makes by that target.
func tool(t T, target, file string) string {
	t.Helper()
	program := filepath.Join(CacheDir(), file)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	output, err := exec.Command(filepath.Join(Root(t), "build_project.sh"), "tool", target).CombinedOutput()
	must(t, err, "build %s: %s", target, output)
	return program
}
