package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// System is what the commands touch of the machine that they run on.
type System struct {
	In          io.Reader
	Out, Err    io.Writer
	OutTerminal bool // people read Out
	ErrTerminal bool // people read Err, and lines on it can be rewritten
	LookupEnv   func(string) (string, bool)
	Dir         string // the working directory; empty = unknown
}

// ThisSystem returns the real one.
func ThisSystem() System {
	dir, _ := os.Getwd()
	return System{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		OutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		LookupEnv:   os.LookupEnv,
		Dir:         dir,
	}
}

// env returns a variable; empty when it is not set.
func (s System) env(name string) string {
	value, _ := s.LookupEnv(name)
	return value
}
