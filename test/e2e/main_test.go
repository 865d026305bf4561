//go:build e2e

// Package e2e drives the built spawner against a real Docker engine and a real
// Traefik, as its users do. Run it by ./build_project.sh test; one test alone:
//
//	go test -tags e2e -run TestName ./test/e2e
package e2e

import (
	"fmt"
	"os"
	"testing"

	"edgespawner/test/stand"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stand.RemoveVariants(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot remove test images:", err)
		code = 1
	}
	os.Exit(code)
}
