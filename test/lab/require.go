package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// programs are what a lab calls, and the Debian package of each.
var programs = []struct{ name, from string }{
	{"ip", "iproute2"}, {"iptables", "iptables"}, {"nsenter", "util-linux"}, {"mount", "mount"},
	{"dockerd", "docker.io"}, {"containerd", "containerd"}, {"docker", "docker.io"},
}

// Require says in one line what this machine lacks for a lab, or nil.
func Require() error {
	if runtime.GOOS != "linux" {
		return errors.New("a lab needs Linux: its nodes are network namespaces")
	}
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root, to make network namespaces and to run engines: use sudo")
	}
	var missing, packages []string
	for _, program := range programs {
		if _, err := exec.LookPath(program.name); err != nil {
			missing = append(missing, program.name)
			packages = append(packages, program.from)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s: sudo apt-get install -y %s", strings.Join(missing, ", "), strings.Join(packages, " "))
	}
	return nil
}
