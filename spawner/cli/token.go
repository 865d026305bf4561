package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) token() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Who may call the spawner", Args: knownCommand, RunE: showHelp}
	token.AddCommand(a.tokenCreate(), a.tokenLs(), a.tokenRm())
	return token
}

func (a *app) tokenCreate() *cobra.Command {
	var scope string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token; it is shown this once",
		Long: `Make a token; it is shown this once, alone on standard output.

The scope admin includes deploy, and deploy includes read; edge opens the edges'
feed and nothing else.`,
		Args: exactly("NAME"),
	}
	cmd.Flags().StringVar(&scope, "scope", string(fleet.ScopeRead), "what it may do: `admin|deploy|read|edge`")
	cmd.Flags().DurationVar(&lifetime, "expires", 0, "worthless after this long, such as 720h; 0 = never")
	complete(cmd, "scope", string(fleet.ScopeAdmin), string(fleet.ScopeDeploy), string(fleet.ScopeRead), string(fleet.ScopeEdge))
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
		token, err := c.AddToken(cmd.Context(), args[0], fleet.Scope(scope), lifetime)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(token)
		}
		fmt.Fprintln(a.Out, token.Token)
		return nil
	})
	return a.remote(cmd)
}

func (a *app) tokenLs() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the tokens, without themselves",
		Args:    exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, tokens)
			}
			return tokensTable(tokens).print(a.Out)
		}),
	})
}

func tokensTable(tokens []fleet.Token) *table {
	t := newTable("NAME", "SCOPE", "CREATED", "EXPIRES", "LAST USED")
	for _, token := range tokens {
		expires := "never"
		if !token.ExpiresAt.IsZero() {
			expires = showMoment(token.ExpiresAt)
		}
		t.row(token.Name, token.Scope, showMoment(token.CreatedAt), expires, showMoment(token.LastUsed))
	}
	return t
}

func (a *app) tokenRm() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Make a token worthless",
		Args:    exactly("NAME"),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			if err := c.RemoveToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"name": args[0], "result": "ok"})
			}
			fmt.Fprintf(a.Out, "Removed token %s\n", args[0])
			return nil
		}),
	})
}
