package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) events() *cobra.Command {
	var filter fleet.EventFilter
	var follow bool
	var since, kind string
	cmd := &cobra.Command{
		Use:               "events [NAME]",
		Short:             "Show what has happened, to one service or to all",
		Args:              atMost(1),
		ValidArgsFunction: a.completeServices(false),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	flags.StringVar(&filter.Service, "service", "", "only of this service, by `name`")
	flags.StringVar(&kind, "type", "", "only of this `type`, such as wake, health or deploy")
	flags.StringVar(&since, "since", "", "only from this `time` on: a time, or how long ago, such as 10m")
	flags.IntVar(&filter.Limit, "limit", 0, "at most `n` of the past (default 100)")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		if len(args) == 1 {
			if filter.Service != "" && filter.Service != args[0] {
				return usagef(cmd, "%s is given together with --service", args[0])
			}
			filter.Service = args[0]
		}
		var err error
		if filter.Since, err = parseMoment(since, time.Now()); err != nil {
			return usagef(cmd, "%w", err)
		}
		filter.Type = fleet.EventType(kind)
		if follow {
			return quietly(cmd.Context(), c.FollowEvents(cmd.Context(), filter, a.printEvent))
		}
		return a.printEvents(cmd, c, filter)
	})
	complete(cmd, "type", eventTypes()...)
	return a.remote(cmd)
}

func (a *app) printEvents(cmd *cobra.Command, c *client.Client, filter fleet.EventFilter) error {
	events, err := c.Events(cmd.Context(), filter)
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
	_, err := fmt.Fprintf(a.Out, "[%s] %s\n", showMoment(event.Timestamp), printable(event.Message))
	return err
}

func eventTypes() []string {
	types := []fleet.EventType{
		fleet.EventDeploy, fleet.EventScale, fleet.EventRemove, fleet.EventRestart, fleet.EventWake, fleet.EventSleep, fleet.EventStep,
		fleet.EventExit, fleet.EventHealth, fleet.EventFailed, fleet.EventRouteMissing, fleet.EventEdge, fleet.EventCertificate,
		fleet.EventAccess, fleet.EventNode, fleet.EventWarning,
	}
	words := make([]string, len(types))
	for i, one := range types {
		words[i] = string(one)
	}
	return words
}
