package cli

import (
	"fmt"
	"maps"
	"net"
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
	cmd.Flags().BoolVar(&reveal, "reveal-env", false, "show the values of variables and of check headers; takes a token of scope admin")
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
	return struct {
		fleet.ServiceDetail
		Spec any `json:"spec"`
	}{detail, detail.Spec.Reveal()}
}

func shownEnv(env map[string]fleet.Secret, reveal bool) map[string]string {
	if reveal {
		return fleet.RevealAll(env)
	}
	shown := make(map[string]string, len(env))
	for key, value := range env {
		shown[key] = value.String()
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
	line("Placement:", showPlacement(detail.Spec.Placement)...)
	line("Volumes:", showVolumes(detail.Spec.Volumes)...)
	line("Restart:", showRestart(detail.Spec))
	line("Drift:", showDrift(detail.Detail)...)
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
	return fmt.Sprintf("%s every %s, timeout %s, %s", text, check.Interval, check.Timeout, retries(check.Retries))
}

func retries(n int) string {
	if n == 1 {
		return "1 retry"
	}
	return fmt.Sprintf("%d retries", n)
}

func showRestart(spec fleet.Spec) string {
	if spec.Restart == "" || spec.Restart == fleet.RestartAlways && spec.RestartLimit == (fleet.RestartLimit{}) {
		return "" // as every service has it
	}
	text := fmt.Sprintf("%s, %s at most", spec.Restart, fleet.Counted(spec.RestartLimit.Most(), "time"))
	if spec.RestartLimit.Window != 0 {
		return fmt.Sprintf("%s in %s", text, spec.RestartLimit.Window)
	}
	return fmt.Sprintf("%s without being up for %s", text, fleet.RestartReset)
}

// showDrift says what somebody changed in the containers.
func showDrift(replicas []fleet.ReplicaDetail) []string {
	var texts []string
	for _, replica := range replicas {
		for _, difference := range replica.Drift {
			texts = append(texts, replica.Name+": "+difference)
		}
	}
	return texts
}

func showLimits(resources fleet.Resources) string {
	var parts []string
	if resources.MemoryMB > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB of memory", resources.MemoryMB))
	}
	if resources.CPUShares > 0 {
		parts = append(parts, showCPUs(resources.CPUShares)+" reserved")
	}
	return strings.Join(parts, ", ")
}

func showCPUs(shares int) string {
	if shares == 1024 {
		return "1 CPU"
	}
	return fmt.Sprintf("%g CPUs", float64(shares)/1024)
}

func showPorts(ports []fleet.Port) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		host := fmt.Sprint(port.HostPort)
		if port.HostIP != "" {
			host = net.JoinHostPort(port.HostIP, host)
		}
		texts[i] = fmt.Sprintf("%s->%d/%s", host, port.ContainerPort, protocol)
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
