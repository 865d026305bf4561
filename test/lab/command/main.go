// Command lab is what `./build_project.sh lab` calls: it starts a lab on this
// machine, breaks and mends its nodes, and takes it down.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"edgespawner/test/lab"
)

const usage = `usage: ./build_project.sh lab COMMAND

  up N                start N Docker engines on this machine, joined for overlay networks,
                      and make them nodes of the installation that is up
  join                make them nodes of it, if it was not up then
  ls                  the nodes, and what state they are in
  cut NODE [FROM]     drop all that goes in and out; FROM: only to and from that node,
                      from this machine (host), or to the engine (engine)
  freeze NODE         stop its engine (SIGSTOP): calls are taken, nothing is answered
  thaw NODE           let it go on
  kill NODE [engine]  take its power: engine, containers and network are gone; engine: only that
  heal NODE           make it whole again
  docker NODE ARGS    docker, with that node's engine
  down                remove all of it

SPAWNER_LAB names the lab (lab), so that several can be up.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := perform(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// perform does what the words say.
func perform(ctx context.Context, words []string) error {
	if len(words) == 0 || words[0] == "help" || words[0] == "-h" || words[0] == "--help" {
		fmt.Println(usage)
		return nil
	}
	verb, rest := words[0], words[1:]
	if verb == "up" {
		return up(ctx, rest)
	}
	if err := lab.Require(); err != nil {
		return err
	}
	l, err := lab.Open(name())
	if err != nil {
		return err
	}
	switch verb {
	case "ls":
		return list(ctx, l)
	case "down":
		if err := l.Down(ctx); err != nil {
			return err
		}
		fmt.Printf("lab %s is down\n", l.Name)
		return nil
	case "credentials":
		return credentials(l)
	}
	return breakOrMend(ctx, l, verb, rest)
}

func name() string {
	if named := os.Getenv("SPAWNER_LAB"); named != "" {
		return named
	}
	return "lab"
}

func up(ctx context.Context, rest []string) error {
	if len(rest) != 1 {
		return errors.New("up takes the number of nodes, such as: lab up 3")
	}
	nodes, err := strconv.Atoi(rest[0])
	if err != nil {
		return fmt.Errorf("up takes the number of nodes, not %q", rest[0])
	}
	l, err := lab.Up(ctx, lab.Options{Name: name(), Nodes: nodes, Swarm: true})
	if err != nil {
		return err
	}
	return list(ctx, l)
}

func list(ctx context.Context, l *lab.Lab) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tADDRESS\tENDPOINT")
	for _, n := range l.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", n.Name, n.State(ctx), n.Address(), n.Endpoint())
	}
	return table.Flush()
}

// credentials prints what a caller of the engines needs, for build_project.sh.
func credentials(l *lab.Lab) error {
	for _, n := range l.Nodes {
		fmt.Println(n.Name, n.Endpoint(), n.Address(), l.CAFile(), l.CertFile(), l.KeyFile())
	}
	return nil
}

// breakOrMend does a verb that is about one node.
func breakOrMend(ctx context.Context, l *lab.Lab, verb string, rest []string) error {
	does, known := map[string]func(*lab.Node, string) error{
		"cut":    func(n *lab.Node, from string) error { return n.Cut(ctx, from) },
		"freeze": func(n *lab.Node, _ string) error { return n.Freeze() },
		"thaw":   func(n *lab.Node, _ string) error { return n.Thaw() },
		"heal":   func(n *lab.Node, _ string) error { return n.Heal(ctx) },
		"kill": func(n *lab.Node, what string) error {
			switch what {
			case "engine":
				return n.KillEngine()
			case "":
				return n.Kill(ctx)
			}
			return fmt.Errorf("kill takes a node, and perhaps the word engine, not %q", what)
		},
		"docker": nil,
	}[verb]
	if !known {
		return fmt.Errorf("there is no command %q\n%s", verb, usage)
	}
	if len(rest) == 0 {
		return fmt.Errorf("%s takes a node: %s", verb, strings.Join(nodeNames(l), ", "))
	}
	n, err := l.Node(rest[0])
	if err != nil {
		return err
	}
	if verb == "docker" {
		return engineCommand(n, rest[1:])
	}
	detail := strings.Join(rest[1:], " ")
	if verb == "cut" && detail == "" {
		detail = lab.CutAll
	}
	if err := does(n, detail); err != nil {
		return err
	}
	return list(ctx, l)
}

func nodeNames(l *lab.Lab) []string {
	var names []string
	for _, n := range l.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// engineCommand becomes the docker command.
func engineCommand(n *lab.Node, args []string) error {
	program, err := exec.LookPath("docker")
	if err != nil {
		return err
	}
	return syscall.Exec(program, append([]string{"docker", "-H", "unix://" + n.Socket()}, args...), os.Environ())
}
