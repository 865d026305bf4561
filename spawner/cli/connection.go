package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"edgespawner/spawner/client"
)

const defaultURL = client.DefaultURL

// connection says which spawner is called, and as whom.
type connection struct {
	host  string // --host
	token string // --token, and after dial the token that is sent
}

// remote gives a command what every call of the API takes: where to, as whom,
// and the form of the answer.
func (a *app) remote(cmd *cobra.Command) *cobra.Command {
	flags := cmd.Flags()
	ownHost := flags.Lookup("host") != nil // that of deploy does both
	if !ownHost {
		flags.StringVar(&a.conn.host, "host", "", "call the spawner at this `URL`: http(s)://, unix:// or ssh:// (SPAWNER_URL)")
	}
	flags.StringVar(&a.conn.token, "token", "", "the `token` to show (SPAWNER_TOKEN)")
	a.formatted(cmd)
	for _, name := range []string{"host", "token", "output"} {
		if name != "host" || !ownHost {
			flags.Lookup(name).Annotations = map[string][]string{sharedFlag: nil}
		}
	}
	return cmd
}

// sharedFlag marks the flags that remote gives to every command.
const sharedFlag = "spawner_shared"

// formatted gives a command the flag -o.
func (a *app) formatted(cmd *cobra.Command) {
	cmd.Flags().VarP((*outputValue)(&a.json), "output", "o", "the form of the answer: `table|json`")
	complete(cmd, "output", "table", "json")
}

// outputValue is the flag -o: true = json.
type outputValue bool

func (v *outputValue) Type() string { return "string" }

func (v *outputValue) String() string {
	if *v {
		return "json"
	}
	return "table"
}

func (v *outputValue) Set(text string) error {
	if !slices.Contains([]string{"table", "json"}, text) {
		return fmt.Errorf("the form is table or json, not %q", text)
	}
	*v = text == "json"
	return nil
}

// dial makes the client of the spawner that was chosen. A token from a file is
// shown only to the spawner that the same file names.
func (a *app) dial() (*client.Client, error) {
	url, token := a.conn.host, a.conn.token
	if url == "" {
		url = a.env("SPAWNER_URL")
	}
	if token == "" {
		token = a.env("SPAWNER_TOKEN")
	}
	if url == "" || token == "" {
		file, err := findEnvFile(a.Dir)
		if err != nil {
			return nil, err
		}
		if url == "" {
			url = file.url
		}
		if token == "" && sameURL(url, file.url) {
			token = file.token
		}
	}
	a.conn.token = token
	c, err := client.New(client.Config{URL: url, Token: token, UserAgent: "spawner-cli/" + versionText()})
	if err != nil {
		return nil, fmt.Errorf("cannot call the spawner: %w", err)
	}
	return c, nil
}

// dialing runs a command with a client.
func (a *app) dialing(run func(cmd *cobra.Command, args []string, c *client.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.dial()
		if err != nil {
			return err
		}
		defer hangUp(c)
		return run(cmd, args, c)
	}
}

// hangUp lets a connection go; what was asked for has been answered by then.
func hangUp(c *client.Client) { _ = c.Close() }
