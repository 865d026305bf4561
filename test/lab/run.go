package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// commandTime bounds one program that a lab calls.
const commandTime = 60 * time.Second

// run runs a program to its end; what it wrote is in the error.
func run(ctx context.Context, command ...string) error {
	_, err := output(ctx, command...)
	return err
}

func output(ctx context.Context, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	said, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	text := strings.TrimSpace(string(said))
	if err != nil {
		return text, fmt.Errorf("cannot run %s: %w: %s", strings.Join(command, " "), err, text)
	}
	return text, nil
}

func runAll(ctx context.Context, commands [][]string) error {
	for _, command := range commands {
		if err := run(ctx, command...); err != nil {
			return err
		}
	}
	return nil
}

// each does it on all nodes at once.
func (l *Lab) each(ctx context.Context, do func(*Node, context.Context) error) error {
	failed := make([]error, len(l.Nodes))
	var working sync.WaitGroup
	for i, n := range l.Nodes {
		working.Go(func() { failed[i] = do(n, ctx) })
	}
	working.Wait()
	return errors.Join(failed...)
}
