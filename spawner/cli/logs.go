package cli

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// allLines is --tail all.
const allLines = -1

func (a *app) logs() *cobra.Command {
	var follow, timestamps bool
	var tail, since, replica string
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what the replicas of a service print",
		Long: `Show what the replicas of a service print, in the order of time.

With --follow, replicas that end, join or are replaced are followed, and a
spawner that is restarted loses no line. On a terminal, what a program prints to
steer one (colours, titles, the cursor) is left out; a file or a pipe gets it as it is.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeServices(false),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what is printed from now on")
	flags.StringVar(&tail, "tail", "all", "only this many `lines` from the end, of all replicas together")
	flags.StringVar(&since, "since", "", "only from this `time` on: a time, or how long ago, such as 10m")
	flags.StringVar(&replica, "replica", "", "only this replica, by `name` or by its index")
	flags.BoolVar(&timestamps, "timestamps", false, "show when each line was printed")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		options := fleet.LogOptions{Follow: follow, Timestamps: timestamps, Replica: replicaName(args[0], replica)}
		var err error
		if options.Tail, err = parseTail(tail); err != nil {
			return usagef(cmd, "%w", err)
		}
		if options.Since, err = parseMoment("--since", since, time.Now()); err != nil {
			return usagef(cmd, "%w", err)
		}
		printer := &logPrinter{out: a.Out, err: a.Err, timestamps: timestamps, names: replica == "",
			terminal: a.OutTerminal, colour: a.OutTerminal && a.env("NO_COLOR") == ""}
		line := printer.print
		if a.json {
			line = func(line fleet.LogLine) error { return a.printJSONLine(line) }
		}
		return quietly(cmd.Context(), c.Logs(cmd.Context(), args[0], options, line))
	})
	return a.remote(cmd)
}

// replicaName lets a replica be named by its index alone.
func replicaName(service, replica string) string {
	if index, err := strconv.Atoi(replica); err == nil && index >= 0 {
		return fleet.ReplicaName(service, index)
	}
	return replica
}

func parseTail(text string) (int, error) {
	if text == "all" {
		return allLines, nil
	}
	lines, err := strconv.Atoi(text)
	if err != nil || lines < 0 {
		return 0, fmt.Errorf("--tail: %q is neither a number of lines nor all", text)
	}
	return lines, nil
}

// colours are the escape sequences that only change how text looks.
var colours = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// harmless makes a line of somebody's program fit for a terminal: colours are
// left out, and whatever else the terminal would obey is shown as a mark.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if obeyed(r) {
			return unicode.ReplacementChar
		}
		return r
	}, colours.ReplaceAllString(text, ""))
}

// palette are the terminal colours of names, one after the other.
var palette = []string{"36", "33", "32", "35", "34", "31"}

// logPrinter writes lines for people, each behind the name of its replica.
type logPrinter struct {
	out, err   io.Writer
	terminal   bool // people read out
	timestamps bool
	names      bool
	colour     bool
	colours    map[string]string
	width      int // of the longest name so far
}

func (p *logPrinter) print(line fleet.LogLine) error {
	if line.Stream == fleet.StreamSpawner {
		_, err := fmt.Fprintf(p.err, "spawner: %s\n", printable(line.Text))
		return err
	}
	if p.names {
		p.width = max(p.width, len(line.Replica))
		if err := p.name(line.Replica); err != nil {
			return err
		}
	}
	text := line.Text
	if p.terminal {
		text = harmless(text)
	}
	if p.timestamps {
		text = line.Time.Local().Format("2006-01-02T15:04:05.000Z07:00") + " " + text
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

func (p *logPrinter) name(replica string) error {
	begin, end := "", ""
	if p.colour {
		if p.colours == nil {
			p.colours = map[string]string{}
		}
		if p.colours[replica] == "" {
			p.colours[replica] = palette[len(p.colours)%len(palette)]
		}
		begin, end = "\x1b["+p.colours[replica]+"m", "\x1b[0m"
	}
	_, err := fmt.Fprintf(p.out, "%s%-*s |%s ", begin, p.width, replica, end)
	return err
}
