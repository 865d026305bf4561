package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgespawner/spawner/daemon"
)

func (a *app) docs() *cobra.Command {
	return &cobra.Command{
		Use:    "docs",
		Short:  "Print the reference of all commands, in Markdown",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(a.Out, "# The commands\n\nMade by `spawner docs`; the checks compare it with the program.\n")
			fmt.Fprintf(a.Out, "\nThe exit code is 0 when the thing asked for has happened, 1 when it has not, 2 when the command line is wrong.\n")
			fmt.Fprintf(a.Out, "Every command that asks the spawner takes:\n\n%s", flagRows(a.ps(), true, false))
			document(a.Out, cmd.Root())
			return nil
		},
	}
}

// document writes a command and all below it.
func document(out io.Writer, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" {
		return
	}
	fmt.Fprintf(out, "\n## %s\n\n", cmd.CommandPath())
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintln(out, text)
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(out, "\n    %s\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(out, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimSpace(cmd.Example), "\n  ", "\n"))
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(out, "\nAlso: `%s`.\n", strings.Join(cmd.Aliases, "`, `"))
	}
	documentFlags(out, cmd)
	for _, below := range cmd.Commands() {
		document(out, below)
	}
}

func documentFlags(out io.Writer, cmd *cobra.Command) {
	if rows := flagRows(cmd, false, cmd.Name() == "serve"); rows != "" {
		fmt.Fprintf(out, "\n%s", rows)
	}
}

// flagRows is the table of a command's own flags, or of those that many share;
// empty when it has none. With twins it shows their environment twins.
func flagRows(cmd *cobra.Command, shared, twins bool) string {
	head, line := "| flag | default | what it does |", "|---|---|---|"
	if twins {
		head, line = head+" twin |", line+"---|"
	}
	var rows strings.Builder
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		_, isShared := flag.Annotations[sharedFlag]
		if flag.Hidden || flag.Name == "help" || flag.Name == "version" || isShared != shared {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		name := "--" + flag.Name
		if flag.Shorthand != "" {
			name = "-" + flag.Shorthand + ", " + name
		}
		name = strings.TrimSpace(name + " " + value)
		fmt.Fprintf(&rows, "| `%s` | %s | %s |", escaped(name), shownDefault(flag), escaped(usage))
		if twins {
			fmt.Fprintf(&rows, " `%s` |", daemon.EnvName(flag.Name))
		}
		rows.WriteByte('\n')
	})
	if rows.Len() == 0 {
		return ""
	}
	return head + "\n" + line + "\n" + rows.String()
}

func shownDefault(flag *pflag.Flag) string {
	switch flag.DefValue {
	case "", "[]", "false":
		return ""
	}
	return "`" + flag.DefValue + "`"
}

// escaped keeps a bar from ending a cell.
func escaped(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
