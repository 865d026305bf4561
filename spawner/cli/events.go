package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// eventFlags are what events are selected by, as it was typed.
type eventFlags struct {
	filter       fleet.EventFilter
	types        []string
	since, until string
	follow       bool
}

func (a *app) events() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events [NAME]",
		Short: "Show what has happened, to one service or to all",
		Long: `Show what has happened, to one service or to all: the newest, oldest first.

To page back through the past, give --before the id of the oldest one shown
(-o json shows ids); to page forward, give --after the id of the newest.
With --follow, a connection that breaks, or a spawner that is restarted, loses
none and shows none twice.`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeServices(false),
	}
	f.bind(cmd)
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		filter, err := f.read(cmd, args)
		if err != nil {
			return err
		}
		if f.follow {
			return quietly(cmd.Context(), c.FollowEvents(cmd.Context(), filter, a.printEvent))
		}
		return a.printEvents(cmd.Context(), c, filter)
	})
	complete(cmd, "type", eventTypes()...)
	return a.remote(cmd)
}

func (f *eventFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens from now on")
	flags.StringVar(&f.filter.Service, "service", "", "only of this service, by `name`")
	flags.StringVar(&f.filter.Container, "replica", "", "only of this replica, by `name`")
	flags.StringVar(&f.filter.Node, "node", "", "only of this node, by `name`")
	flags.StringVar(&f.filter.By, "by", "", "only what this token or account asked for, by `name`")
	flags.StringSliceVar(&f.types, "type", nil, "only of this `type`, such as wake, health or deploy; may be repeated")
	flags.StringVar(&f.since, "since", "", "only from this `time` on: a time, or how long ago, such as 10m")
	flags.StringVar(&f.until, "until", "", "only before this `time`")
	flags.Int64Var(&f.filter.After, "after", 0, "only what came after the event with this `id`")
	flags.Int64Var(&f.filter.Before, "before", 0, "only what came before the event with this `id`")
	flags.IntVar(&f.filter.Limit, "limit", 0, "at most `n` of the past (default 100)")
}

func (f *eventFlags) read(cmd *cobra.Command, args []string) (filter fleet.EventFilter, err error) {
	filter = f.filter
	if len(args) == 1 {
		if filter.Service != "" && filter.Service != args[0] {
			return filter, usagef(cmd, "%s is given together with --service", args[0])
		}
		filter.Service = args[0]
	}
	if filter.Since, err = parseMoment("--since", f.since, time.Now()); err != nil {
		return filter, usagef(cmd, "%w", err)
	}
	if filter.Until, err = parseMoment("--until", f.until, time.Now()); err != nil {
		return filter, usagef(cmd, "%w", err)
	}
	switch {
	case f.follow && (f.until != "" || filter.Before != 0):
		return filter, usagef(cmd, "--follow goes on for ever: it is not given together with --until or --before")
	case filter.After < 0 || filter.Before < 0 || filter.Limit < 0:
		return filter, usagef(cmd, "--after, --before and --limit are not negative")
	case filter.After == 0 && cmd.Flags().Changed("after"):
		filter.After = -1 // from the first on
	}
	for _, one := range f.types {
		filter.Types = append(filter.Types, fleet.EventType(one))
	}
	return filter, nil
}

func (a *app) printEvents(ctx context.Context, c *client.Client, filter fleet.EventFilter) error {
	events, err := c.Events(ctx, filter)
	if err != nil {
		return err
	}
	if a.json {
		return printList(a, events)
	}
	for _, event := range events {
		if err := a.printEvent(event); err != nil {
			return err
		}
	}
	return nil
}

// printEvent writes one event in a line: [2024-01-15 10:23:45] Container api-server-2 failed health check.
func (a *app) printEvent(event fleet.Event) error {
	if a.json {
		return a.printJSONLine(event)
	}
	if event.Type == fleet.EventGap {
		_, err := fmt.Fprintf(a.Err, "spawner: %s\n", printable(event.Message))
		return err
	}
	_, err := fmt.Fprintf(a.Out, "[%s] %s\n", showMoment(event.Timestamp), printable(event.Message))
	return err
}

func eventTypes() []string {
	types := fleet.EventTypes()
	words := make([]string, len(types))
	for i, one := range types {
		words[i] = string(one)
	}
	return words
}
