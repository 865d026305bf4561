package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) webhook() *cobra.Command {
	webhook := &cobra.Command{Use: "webhook", Short: "Where events are sent as they happen", Args: knownCommand, RunE: showHelp}
	webhook.AddCommand(a.webhookAdd(), a.webhookLs(), a.webhookTest(), a.webhookRm())
	return webhook
}

func (a *app) webhookAdd() *cobra.Command {
	var hook fleet.Webhook
	var types []string
	var secretFile string
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Send events to a URL, from now on",
		Long: `Send events to a URL, from now on: each as a POST, signed as Standard Webhooks
has it, and again until it is taken.

Without --secret-file a secret is made; it is shown this once, alone on standard
output.`,
		Args: exactly("NAME", "URL"),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&types, "type", nil, "only events of this `type`, such as failed or health; may be repeated (default: all)")
	flags.StringVar(&hook.Service, "service", "", "only events of this service, by `name`")
	flags.StringVar(&secretFile, "secret-file", "", "sign with the secret in this `file` (whsec_ and base64); - is standard input")
	complete(cmd, "type", eventTypes()...)
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) (err error) {
		hook.Name, hook.URL = args[0], args[1]
		for _, one := range types {
			hook.Types = append(hook.Types, fleet.EventType(one))
		}
		if hook.Secret, err = a.readSecret(secretFile); err != nil {
			return err
		}
		made, err := c.AddWebhook(cmd.Context(), hook)
		switch {
		case err != nil:
			return err
		case secretFile != "":
			made.Secret = ""
		}
		if a.json {
			return a.printJSON(made)
		}
		if secretFile != "" {
			fmt.Fprintf(a.Out, "Events are sent to webhook %s\n", made.Name)
			return nil
		}
		fmt.Fprintln(a.Out, made.Secret)
		return nil
	})
	return a.remote(cmd)
}

// readSecret reads a file, or standard input for -; empty for no file.
func (a *app) readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(a.In, 4096))
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the secret: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("cannot read the secret: %s is empty", path)
	}
	return text, nil
}

func (a *app) webhookLs() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the webhooks, and whether their receivers take what is sent",
		Args:    exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			hooks, err := c.Webhooks(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, hooks)
			}
			return webhooksTable(hooks).print(a.Out)
		}),
	})
}

func webhooksTable(hooks []fleet.Webhook) *table {
	t := newTable("NAME", "URL", "TYPES", "SERVICE", "DELIVERED", "STATE")
	for _, hook := range hooks {
		words := make([]string, len(hook.Types))
		for i, one := range hook.Types {
			words[i] = string(one)
		}
		types, service, state := strings.Join(words, ","), hook.Service, "ok"
		if types == "" {
			types = "all"
		}
		if service == "" {
			service = "all"
		}
		if !hook.FailingSince.IsZero() {
			state = fmt.Sprintf("failing since %s: %s", showMoment(hook.FailingSince), hook.LastError)
		}
		t.row(hook.Name, hook.URL, types, service, showMoment(hook.DeliveredAt), state)
	}
	return t
}

func (a *app) webhookTest() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "test NAME",
		Short: "Send a webhook's receiver one message, and say what it answers",
		Args:  exactly("NAME"),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			result, err := c.TestWebhook(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(result)
			}
			fmt.Fprintf(a.Out, "Webhook %s took it: %d in %s\n", args[0], result.Status, showSpan(result.Took.Std()))
			return nil
		}),
	})
}

func (a *app) webhookRm() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Send a webhook's receiver nothing any more",
		Args:    exactly("NAME"),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			if err := c.RemoveWebhook(cmd.Context(), args[0]); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"name": args[0], "result": "ok"})
			}
			fmt.Fprintf(a.Out, "Removed webhook %s\n", args[0])
			return nil
		}),
	})
}
