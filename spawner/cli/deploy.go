package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// deployFlags are the flags of deploy beside those of the spec.
type deployFlags struct {
	spec                  specFlags
	file                  string
	dryRun, force, detach bool
}

func (a *app) deploy() *cobra.Command {
	f := &deployFlags{}
	cmd := &cobra.Command{
		Use:   "deploy (--name NAME … | -f FILE) [-- COMMAND…]",
		Short: "Create or change a service",
		Long: `Create or change a service, and wait until it is done.

With -f the file is the whole of what the service shall be, as JSON or YAML, and
flags beside it win over it. Without -f, flags on a service that exists change
only what they name.`,
		Example: `  spawner deploy --name api-server --image myapp:latest --replicas 3
  spawner deploy --name api-server --host api.example.com --tls --sleep-after 10m
  spawner deploy -f api-server.yaml --dry-run`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash == 0 || len(args) == 0 {
				return nil
			}
			return usagef(cmd, "%q: the words of a command stand after --, and a service is named by --name", args[0])
		},
	}
	f.spec.bind(cmd, &a.conn.host)
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "the spec, JSON or YAML, from this `file`; - = standard input")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and change nothing")
	flags.BoolVar(&f.force, "force", false, "replace the replicas even where nothing has changed")
	flags.BoolVar(&f.detach, "detach", false, "end once the job is accepted, without waiting for it")
	cmd.RunE = a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error { return a.runDeploy(cmd, args, c, f) })
	return a.remote(cmd)
}

func (a *app) runDeploy(cmd *cobra.Command, args []string, c *client.Client, f *deployFlags) error {
	body, err := a.deployBody(cmd, args, f)
	if err != nil {
		return err
	}
	options := client.DeployOptions{Force: f.force, Merge: f.file == ""}
	if f.dryRun {
		plan, err := c.Plan(cmd.Context(), body, options)
		if err != nil {
			return err
		}
		return a.printPlan(plan)
	}
	accepted, err := c.DeployBody(cmd.Context(), body, options)
	if err != nil {
		return err
	}
	return a.follow(cmd.Context(), c, accepted, f.detach)
}

// deployBody returns the JSON that is sent: the file, with the flags over it.
func (a *app) deployBody(cmd *cobra.Command, args []string, f *deployFlags) ([]byte, error) {
	given, err := f.spec.body(cmd.Flags(), args, a.System)
	var file []byte
	if f.file != "" {
		var wrong error
		file, wrong = a.readSpecFile(f.file)
		err = errors.Join(err, wrong)
	}
	switch {
	case err != nil:
		return nil, err
	case f.file == "" && given["name"] == nil:
		return nil, usagef(cmd, "--name or -f is missing")
	case f.file == "":
		return json.Marshal(given)
	case len(given) == 0:
		return file, nil
	}
	var whole object
	if err := json.Unmarshal(file, &whole); err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	return json.Marshal(merge(whole, given))
}

func (a *app) printPlan(plan fleet.Plan) error {
	if a.json {
		return a.printJSON(plan)
	}
	for _, warning := range plan.Warnings {
		fmt.Fprintf(a.Err, "spawner: warning: %s\n", printable(warning))
	}
	if plan.Unchanged {
		fmt.Fprintf(a.Out, "%s is unchanged (revision %d): nothing would be done\n", plan.Service, plan.Revision)
		return nil
	}
	fmt.Fprintf(a.Out, "%s would become revision %d:\n", plan.Service, plan.Revision)
	steps := newTable("STEP", "REPLICA", "DETAIL")
	for _, step := range plan.Steps {
		steps.row(step.Verb, step.Replica, step.Detail)
	}
	return steps.print(a.Out)
}
