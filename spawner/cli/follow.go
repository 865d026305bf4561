package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

// detachable is the flag of verbs that become a job.
func detachable(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("detach", false, "end once the job is accepted, without waiting for it")
}

// verb is a command of which each argument names a service, and that becomes a job for each.
func (a *app) verb(cmd *cobra.Command, call func(c *client.Client, ctx context.Context, name string) (fleet.Accepted, error)) *cobra.Command {
	detach := detachable(cmd)
	cmd.Use += " NAME…"
	cmd.Args = some("NAME")
	cmd.ValidArgsFunction = a.completeServices(true)
	cmd.RunE = a.dialing(func(cmd *cobra.Command, names []string, c *client.Client) error {
		return a.eachJob(cmd.Context(), c, *detach, names, func(ctx context.Context, name string) (fleet.Accepted, error) {
			return call(c, ctx, name)
		})
	})
	return a.remote(cmd)
}

// eachJob asks for a job for each name, then follows them all to their end.
func (a *app) eachJob(ctx context.Context, c *client.Client, detach bool, names []string, call func(context.Context, string) (fleet.Accepted, error)) error {
	var failed []error
	var accepted []fleet.Accepted
	for _, name := range names {
		one, err := call(ctx, name)
		if err != nil {
			failed = append(failed, named(err, name, len(names) > 1))
			continue
		}
		accepted = append(accepted, one)
	}
	for _, one := range accepted {
		failed = append(failed, a.follow(ctx, c, one, detach))
	}
	return errors.Join(failed...)
}

// named says which service an error is about, where several were asked for.
func named(err error, name string, several bool) error {
	if !several {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// follow shows a job's steps until its end and says what came of it. Its error
// is that of the job.
func (a *app) follow(ctx context.Context, c *client.Client, accepted fleet.Accepted, detach bool) error {
	if accepted.JobID == "" || detach {
		return a.printAccepted(accepted)
	}
	progress := newProgress(a.Err, a.ErrTerminal)
	show := progress.show
	if a.json && !a.ErrTerminal {
		show = func(fleet.Job) {}
	}
	job, err := c.WatchJob(ctx, accepted.JobID, show)
	progress.end()
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("job %s goes on: 'spawner jobs show %s' shows it, 'spawner jobs cancel %s' ends it", accepted.JobID, accepted.JobID, accepted.JobID)
		}
		return fmt.Errorf("cannot follow job %s: %w", accepted.JobID, err)
	}
	for _, warning := range job.Warnings {
		fmt.Fprintf(a.Err, "spawner: warning: %s\n", printable(warning))
	}
	if a.json {
		if err := a.printJSON(job); err != nil {
			return err
		}
	}
	if job.State != fleet.JobSucceeded {
		return jobError(job)
	}
	if a.json {
		return nil
	}
	fmt.Fprintln(a.Out, jobDone(job))
	if wantsURLs[job.Kind] {
		a.printURLs(ctx, c, job.Service)
	}
	return nil
}

func (a *app) printAccepted(accepted fleet.Accepted) error {
	switch {
	case a.json:
		return a.printJSON(accepted)
	case accepted.JobID == "" && accepted.Unchanged:
		fmt.Fprintf(a.Out, "%s is unchanged (revision %d)\n", accepted.Service, accepted.Revision)
	case accepted.JobID == "":
		fmt.Fprintf(a.Out, "%s: there was nothing to do\n", accepted.Service)
	default:
		fmt.Fprintf(a.Out, "%s: job %s is accepted\n", accepted.Service, accepted.JobID)
	}
	return nil
}

// wantsURLs are the jobs after which a person wants to open the service.
var wantsURLs = map[fleet.JobKind]bool{fleet.JobDeploy: true, fleet.JobRollback: true}

// printURLs shows where the service is; the job has succeeded, so nothing here is an error.
func (a *app) printURLs(ctx context.Context, c *client.Client, name string) {
	detail, err := c.Service(ctx, name)
	if err != nil {
		return
	}
	for _, url := range detail.URLs {
		fmt.Fprintln(a.Out, printable(url))
	}
}

// jobDone says in a line what a job has done.
func jobDone(job fleet.Job) string {
	var text string
	switch job.Kind {
	case fleet.JobDeploy:
		text = fmt.Sprintf("Deployed %s (revision %d)", job.Service, job.Revision)
	case fleet.JobRollback:
		text = fmt.Sprintf("Rolled %s back (revision %d)", job.Service, job.Revision)
	case fleet.JobScale:
		text = fmt.Sprintf("Scaled %s to %d", job.Service, job.Replicas)
	case fleet.JobRestart:
		text = "Restarted " + job.Service
	case fleet.JobRemove:
		text = "Removed " + job.Service
	case fleet.JobWake:
		text = job.Service + " is awake"
	case fleet.JobSleep:
		text = job.Service + " is asleep"
	default:
		text = fmt.Sprintf("%s: %s done", jobSubject(job), job.Kind)
	}
	return text + " in " + showSpan(jobSpan(job))
}

func jobSpan(job fleet.Job) time.Duration {
	if job.EndedAt.IsZero() {
		return 0
	}
	return job.EndedAt.Sub(job.CreatedAt)
}

// jobError is the error of a job that has not done what was asked.
func jobError(job fleet.Job) error {
	reason := job.Error
	if reason == "" {
		reason = "no reason was given"
	}
	how := "failed"
	if job.State == fleet.JobCanceled {
		how = "was not done" // somebody's will: it was canceled, or another job took its place
	}
	return fmt.Errorf("%s of %s %s: %s (job %s)", job.Kind, jobSubject(job), how, reason, job.ID)
}

// jobSubject is what a job is about: a service, or the nodes.
func jobSubject(job fleet.Job) string { return cmp.Or(job.Service, "the nodes") }
