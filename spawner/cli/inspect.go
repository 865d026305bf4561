package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) inspect() *cobra.Command {
	var reveal bool
	cmd := &cobra.Command{
		Use:               "inspect NAME",
		Short:             "Show all that is known of a service",
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeServices(false),
	}
	cmd.Flags().BoolVar(&reveal, "reveal-env", false, "show the values of variables; takes a token of scope admin")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		ask := c.Service
		if reveal {
			ask = c.RevealedService
		}
		detail, err := ask(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(shownDetail(detail, reveal))
		}
		return a.printDetail(detail, reveal)
	})
	return a.remote(cmd)
}

// shownDetail returns what is printed of a service; with reveal, its variables
// stand before the ones that print as redacted.
func shownDetail(detail fleet.ServiceDetail, reveal bool) any {
	if !reveal {
		return detail
	}
	type spec struct {
		fleet.Spec
		Env map[string]string `json:"env,omitempty"`
	}
	return struct {
		fleet.ServiceDetail
		Spec spec `json:"spec"`
	}{detail, spec{detail.Spec, shownEnv(detail.Spec.Env, true)}}
}

func shownEnv(env map[string]fleet.Secret, reveal bool) map[string]string {
	shown := make(map[string]string, len(env))
	for key, value := range env {
		shown[key] = value.String()
		if reveal {
			shown[key] = value.Reveal()
		}
	}
	return shown
}

func (a *app) printDetail(detail fleet.ServiceDetail, reveal bool) error {
	lines := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	line := func(name string, texts ...string) {
		for _, text := range texts {
			if text != "" {
				fmt.Fprintf(lines, "%s\t%s\n", name, printable(text))
				name = ""
			}
		}
	}
	line("Name:", detail.Name)
	line("Status:", string(detail.Status))
	line("Reason:", detail.Reason)
	line("Health:", showHealth(detail.Service))
	line("Replicas:", showReplicas(detail.Service))
	line("Image:", detail.Image)
	line("Revision:", showRevision(detail.Revision))
	line("Job:", detail.JobID)
	line("URLs:", detail.URLs...)
	line("Sleep:", showSleep(detail.Spec.Sleep))
	line("Check:", showCheck(detail.Spec.HealthCheck))
	line("Limits:", showLimits(detail.Spec.Resources))
	env := shownEnv(detail.Spec.Env, reveal)
	line("Env:", pairs(env)...)
	line("Labels:", pairs(detail.Spec.Labels)...)
	line("Changed:", showMoment(detail.ChangedAt))
	if err := lines.Flush(); err != nil {
		return err
	}
	if len(detail.Containers) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	return replicasTable(detail).print(a.Out)
}

func replicasTable(detail fleet.ServiceDetail) *table {
	more := map[string]fleet.ReplicaDetail{}
	for _, replica := range detail.Detail {
		more[replica.Name] = replica
	}
	t := newTable("REPLICA", "STATUS", "HEALTH", "REVISION", "NODE", "ADDRESS", "PUBLISHED", "RESTARTS", "LAST EXIT")
	for _, c := range detail.Containers {
		replica := more[c.Name]
		health := string(c.Health)
		if c.Status != fleet.ContainerRunning {
			health = "-"
		}
		t.row(c.Name, c.Status, health, showRevision(replica.Revision), c.NodeID, replica.Address, showPorts(replica.Published), replica.Restarts, replica.LastExit)
	}
	return t
}

func showRevision(number int) string {
	if number == 0 {
		return "-"
	}
	return fmt.Sprint(number)
}

func showSleep(sleep fleet.Sleep) string {
	if sleep.After == 0 {
		return "only when told"
	}
	return fmt.Sprintf("after %s without use (%s)", sleep.After, sleep.Mode)
}

func showCheck(check *fleet.HealthCheck) string {
	if check == nil {
		return ""
	}
	text := string(check.Type)
	switch {
	case check.Endpoint != "":
		text += " " + check.Endpoint
	case check.Port != 0:
		text += fmt.Sprintf(" port %d", check.Port)
	case len(check.Command) > 0:
		text += " " + strings.Join(check.Command, " ")
	}
	if check.Interval == 0 {
		return text
	}
	return fmt.Sprintf("%s every %s, timeout %s, %d retries", text, check.Interval, check.Timeout, check.Retries)
}

func showLimits(resources fleet.Resources) string {
	var parts []string
	if resources.MemoryMB > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB of memory", resources.MemoryMB))
	}
	if resources.CPUShares > 0 {
		parts = append(parts, fmt.Sprintf("%g CPUs reserved", float64(resources.CPUShares)/1024))
	}
	return strings.Join(parts, ", ")
}

func showPorts(ports []fleet.Port) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		texts[i] = fmt.Sprintf("%d->%d/%s", port.HostPort, port.ContainerPort, protocol)
	}
	return strings.Join(texts, ", ")
}

// pairs writes KEY=VALUE lines in order.
func pairs(values map[string]string) []string {
	texts := make([]string, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		texts = append(texts, key+"="+values[key])
	}
	return texts
}
