package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgespawner/spawner/daemon"
)

// app is one run of the program.
type app struct {
	System
	json bool // -o json
	conn connection
}

// Run carries out one command line, without the program's name, and returns
// the exit code: 0 = it has happened, 1 = it has not, 2 = the command line is wrong.
func Run(ctx context.Context, system System, args []string) int {
	a := &app{System: system}
	root := a.root()
	root.SetArgs(spell(root, args))
	root.SetIn(system.In)
	root.SetOut(system.Out)
	root.SetErr(system.Err)
	return a.report(root.ExecuteContext(ctx))
}

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "spawner",
		Short:             "Deploy services, route to them, let them sleep and wake them",
		Version:           versionText(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              knownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Long: `Deploy services, route to them, let them sleep and wake them.

The spawner is found by --host or SPAWNER_URL, the token by --token or
SPAWNER_TOKEN; else both by the file .spawner/env in the working directory or
one above it; else it is ` + defaultURL + `.`,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	root.AddGroup(&cobra.Group{ID: groupServices, Title: "Services:"}, &cobra.Group{ID: groupFleet, Title: "The fleet:"})
	add(root, groupServices, a.deploy(), a.ps(), a.inspect(), a.scale(), a.restart(), a.revisions(), a.rollback(),
		a.logs(), a.events(), a.wake(), a.sleep(), a.why(), a.rm())
	add(root, groupFleet, a.serve(), a.node(), a.rebalance(), a.whatif(), a.edges(), a.jobs(), a.token(), a.webhook(), a.backup(), a.restore())
	root.AddCommand(a.version(), a.completion(), a.docs())
	return root
}

const (
	groupServices = "services"
	groupFleet    = "fleet"
)

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, command := range commands {
		command.GroupID = group
		root.AddCommand(command)
	}
}

// spell reads a command line as the older tool wrote it: long flags of serve
// with one dash, and serve itself left out.
func spell(root *cobra.Command, args []string) []string {
	serve, _, err := root.Find([]string{"serve"})
	if err != nil || len(args) == 0 {
		return args
	}
	if args[0] == "serve" {
		return append([]string{"serve"}, daemon.TwoDashes(serve.Flags(), args[1:])...)
	}
	if onlyFlags(serve.Flags(), args) {
		return append([]string{"serve"}, daemon.TwoDashes(serve.Flags(), args)...)
	}
	return args
}

// onlyFlags says whether args are flags of the set and their values, and nothing else.
func onlyFlags(flags *pflag.FlagSet, args []string) bool {
	for i := 0; i < len(args); i++ {
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		flag := flags.Lookup(name)
		if !strings.HasPrefix(args[i], "-") || flag == nil || len(name) < 2 || name == "help" {
			return false
		}
		if !hasValue && flag.NoOptDefVal == "" {
			i++
		}
	}
	return true
}
