package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that is wrong.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Errorf(format, args...)}
}

// report prints an error, a line for each one that was joined, and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitDone
	}
	for _, one := range flatten(err) {
		fmt.Fprintf(a.Err, "spawner: %s\n", printable(one.Error()))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(a.Err, "See '%s --help'.\n", usage.cmd.CommandPath())
		return exitUsage
	}
	if fleet.KindOf(err) == fleet.Unauthorized && a.conn.token == "" {
		fmt.Fprintln(a.Err, "spawner: no token was sent: give --token or SPAWNER_TOKEN, or work where a .spawner/env is found")
	}
	return exitFailed
}

// flatten parts joined errors.
func flatten(err error) []error {
	if usage, ok := err.(*usageError); ok {
		err = usage.err
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	if !isJoin(err, joined.Unwrap()) {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, flatten(one)...)
	}
	return all
}

// isJoin tells errors.Join from an error that wraps two with words around them.
func isJoin(err error, parts []error) bool {
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Error()
	}
	return err.Error() == strings.Join(texts, "\n")
}

// quietly takes the interruption by the user for the end of what has no end, such as logs -f.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
