package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgespawner/fleet"
)

// stepRule is what holds of the steps of a verb.
type stepRule struct {
	// limit is how long a step may take with all its attempts; 0 = what it waits
	// for has a limit of its own, which docs/jobs.md lists.
	limit   time.Duration
	retried bool // an attempt that failed for what may pass is made again
	// waits: it changes nothing that the next process would not find as it is, so
	// it is left at once when the spawner ends. Others come to their end first.
	waits bool
}

// stepRules are the verbs whose steps are bounded here, tried again, or left at
// the end of the process. What they do is idempotent: what an attempt or a
// process has made, the next one finds.
var stepRules = map[string]stepRule{
	"place":   {limit: time.Minute, retried: true},
	"pull":    {retried: true, waits: true}, // its limit is Config.PullTimeout
	"create":  {limit: 5 * time.Minute, retried: true},
	"start":   {retried: true, waits: true},
	"confirm": {limit: time.Minute, waits: true}, // the edges are waited for; one that does not answer is lost after 20 s
	"drain":   {waits: true},
	"stop":    {retried: true},
	"remove":  {retried: true},
	"volumes": {limit: time.Minute, retried: true},
	"certify": {waits: true},
	"move":    {waits: true}, // a job of its own, which has limits of its own
	"wake":    {waits: true},
	"sleep":   {waits: true},
}

func (e *Engine) stepRule(verb string) stepRule {
	rule := stepRules[verb]
	if verb == "pull" {
		rule.limit = e.config.PullTimeout
	}
	return rule
}

// step runs one step and records it: begun, and how it ended.
func (j *jobRun) step(verb, replica string, do func(ctx context.Context) (detail string, err error)) error {
	if err := context.Cause(j.ctx); err != nil {
		return err
	}
	return j.stepWith(j.ctx, verb, replica, do)
}

// stepWith is step with a context of its own, for what must go on when the job is canceled.
func (j *jobRun) stepWith(ctx context.Context, verb, replica string, do func(ctx context.Context) (detail string, err error)) error {
	if err := j.engine.queue.rest(j); err != nil {
		return err
	}
	s := &stepRun{job: j, verb: verb, replica: replica, rule: j.engine.stepRule(verb), do: do}
	j.change(func(job *fleet.Job) {
		s.at = len(job.Steps)
		job.Steps = append(job.Steps, fleet.Step{Verb: verb, Replica: replica, State: fleet.JobRunning, StartedAt: time.Now().UTC()})
	})
	detail, err := s.carryOut(ctx)
	if errors.Is(err, errShutdown) {
		return err // it goes on in the next process
	}
	s.change(func(step *fleet.Step) {
		step.EndedAt = time.Now().UTC()
		step.State, step.Detail = fleet.JobSucceeded, detail
		if err != nil {
			step.State, step.Detail = fleet.JobFailed, err.Error()
		}
	})
	switch {
	case err != nil:
		s.record("%s failed: %s", s.name(), err)
	case detail != "":
		s.record("%s: %s", s.name(), detail)
	default:
		s.record("%s", s.name())
	}
	return err
}

// stepRun is a step under way.
type stepRun struct {
	job     *jobRun
	at      int // its place among the job's steps
	verb    string
	replica string // empty = the service as a whole
	rule    stepRule
	do      func(ctx context.Context) (detail string, err error)
}

func (s *stepRun) name() string {
	if s.replica == "" {
		return s.verb + " " + s.job.subject
	}
	return s.verb + " " + s.replica
}

func (s *stepRun) change(f func(*fleet.Step)) {
	s.job.change(func(job *fleet.Job) { f(&job.Steps[s.at]) })
}

func (s *stepRun) record(format string, args ...any) {
	s.job.engine.record(fleet.Event{Type: fleet.EventStep, Service: s.job.service, Container: s.replica, Message: fmt.Sprintf(format, args...), By: s.job.job.By})
}

// carryOut makes attempts until one succeeds, fails for good, or the step's time is over.
func (s *stepRun) carryOut(ctx context.Context) (detail string, err error) {
	if s.rule.limit > 0 {
		late := fleet.Errorf(fleet.Timeout, "%s took longer than %s", s.name(), s.rule.limit)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.rule.limit, late)
		defer cancel()
	}
	if s.rule.waits {
		var cancel context.CancelFunc
		ctx, cancel = s.job.engine.queue.untilParked(ctx)
		defer cancel()
	}
	for n := 1; ; n++ {
		if detail, err = s.do(ctx); err == nil {
			return detail, nil
		}
		pause, again := retry(err, n)
		if again = again && s.rule.retried && ctx.Err() == nil; again {
			s.pause(ctx, n, pause, err)
		}
		if s.job.engine.queue.isParked() {
			return "", s.leave()
		}
		if cause := context.Cause(ctx); cause != nil {
			return "", ended(cause, err)
		}
		if !again {
			return "", err
		}
		s.change(func(step *fleet.Step) { step.Attempts = n + 1 })
	}
}

// leave leaves the step to the next process, and returns at the end of this one.
func (s *stepRun) leave() error {
	s.change(func(step *fleet.Step) { step.Detail = "left to the next start of the spawner" })
	s.record("%s is left to the next start of the spawner", s.name())
	return s.job.engine.queue.rest(s.job)
}

// ended is why a step ended before it was done, and what it met last.
func ended(cause, err error) error {
	if errors.Is(err, cause) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return cause
	}
	return fmt.Errorf("%w: %s", cause, err)
}

// pause waits for the next attempt, and says so on the job and as an event. It
// is over when ctx ends or the queue is parked, too.
func (s *stepRun) pause(ctx context.Context, n int, pause time.Duration, err error) {
	s.change(func(step *fleet.Step) {
		step.Attempts, step.Detail = n, fmt.Sprintf("attempt %d failed: %s; again in %s", n, err, pause)
	})
	s.record("%s failed, attempt %d: %s; again in %s", s.name(), n, err, pause)
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	case <-s.job.engine.queue.parking:
	}
}
