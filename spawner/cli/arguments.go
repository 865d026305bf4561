package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// exactly wants one argument for each of the names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef(cmd, "%s is missing", names[len(args)])
		}
		return atMost(len(names))(cmd, args)
	}
}

// some wants one argument at least.
func some(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(cmd, "%s is missing", name)
		}
		return nil
	}
}

// atMost refuses more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef(cmd, "%q is one argument too many", args[n])
		}
		return nil
	}
}

// knownCommand refuses a word that is no command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("there is no command %q", args[0])
	cmd.SuggestionsMinimumDistance = min(2, len(args[0])/3) // a short word is like any other short one
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		err = fmt.Errorf("there is no command %q; did you mean %q?", args[0], similar[0])
	}
	return &usageError{cmd, err}
}

// completionWait is how long a shell may be kept waiting for names.
const completionWait = 2 * time.Second

// completeServices offers the names of services to a shell; repeated = for every argument.
func (a *app) completeServices(repeated bool) cobra.CompletionFunc {
	return completeNames(a, repeated, (*client.Client).Services, func(service fleet.Service) (name, state string) {
		return service.Name, string(service.Status)
	})
}

// completeNames offers names from a list of the API, each with a word on its state;
// repeated = for every argument, else for the first.
func completeNames[T any](a *app, repeated bool, list func(*client.Client, context.Context) ([]T, error), tell func(T) (name, state string)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !repeated {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionWait)
		defer cancel()
		c, err := a.dial()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer hangUp(c)
		things, err := list(c, ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(things))
		for i, thing := range things {
			name, state := tell(thing)
			names[i] = name + "\t" + state
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// complete offers fixed words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag that the command has not
	}
}
