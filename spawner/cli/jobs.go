package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"edgespawner/fleet"
	"edgespawner/spawner/client"
)

func (a *app) jobs() *cobra.Command {
	jobs := a.jobsLs()
	jobs.Use, jobs.Aliases = "jobs", []string{"job"}
	jobs.Args = knownCommand
	jobs.AddCommand(a.jobsLs(), a.jobsShow(), a.jobsCancel())
	return jobs
}

func (a *app) jobsLs() *cobra.Command {
	var service string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the jobs, newest first",
		Args:  exactly(),
		RunE: a.dialing(func(cmd *cobra.Command, _ []string, c *client.Client) error {
			jobs, err := c.Jobs(cmd.Context(), service, limit)
			if err != nil {
				return err
			}
			if a.json {
				return printList(a, jobs)
			}
			return jobsTable(jobs).print(a.Out)
		}),
	}
	cmd.Flags().StringVar(&service, "service", "", "only of this service, by `name`")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most `n` (default: as many as the spawner gives at once)")
	return a.remote(cmd)
}

func jobsTable(jobs []fleet.Job) *table {
	t := newTable("ID", "KIND", "SERVICE", "STATE", "CREATED", "TOOK", "BY", "ERROR")
	for _, job := range jobs {
		took := "-"
		if !job.EndedAt.IsZero() {
			took = showSpan(jobSpan(job))
		}
		t.row(job.ID, job.Kind, job.Service, job.State, showMoment(job.CreatedAt), took, job.By, job.Error)
	}
	return t
}

func (a *app) jobsShow() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "show ID",
		Short: "Show a job and its steps",
		Args:  exactly("ID"),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			job, err := c.Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(job)
			}
			return a.printJob(job)
		}),
	})
}

func (a *app) printJob(job fleet.Job) error {
	if err := jobsTable([]fleet.Job{job}).print(a.Out); err != nil {
		return err
	}
	for _, warning := range job.Warnings {
		fmt.Fprintf(a.Out, "warning: %s\n", printable(warning))
	}
	if len(job.Steps) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	steps := newTable("STEP", "REPLICA", "STATE", "TOOK", "DETAIL")
	for _, step := range job.Steps {
		took := "-"
		if !step.EndedAt.IsZero() && !step.StartedAt.IsZero() {
			took = showSpan(step.EndedAt.Sub(step.StartedAt))
		}
		steps.row(step.Verb, step.Replica, step.State, took, stepDetail(step))
	}
	return steps.print(a.Out)
}

func (a *app) jobsCancel() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a job and wait for its end",
		Args:  exactly("ID"),
		RunE: a.dialing(func(cmd *cobra.Command, args []string, c *client.Client) error {
			job, err := c.CancelJob(cmd.Context(), args[0])
			if err == nil && !job.State.Ended() {
				job, err = c.WaitJob(cmd.Context(), job.ID)
			}
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(job); err != nil {
					return err
				}
			}
			if job.State != fleet.JobCanceled {
				return fmt.Errorf("job %s was not canceled: it had %s", job.ID, job.State)
			}
			if !a.json {
				fmt.Fprintf(a.Out, "Canceled %s of %s\n", job.Kind, jobSubject(job))
			}
			return nil
		}),
	})
}
