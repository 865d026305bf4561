package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"edgespawner/fleet"
)

// progress shows the steps of a job as they come to their end: a line each, and
// on a terminal below them one line, written again and again, for what runs.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	began    time.Time   // when the job was taken up that is shown: a restart of the spawner takes it up anew
	shown    []shownStep // of that life
	status   bool        // a line to be written over stands on the terminal
}

// shownStep is what was shown last of a step.
type shownStep struct {
	state  fleet.JobState
	detail string
}

func newProgress(out io.Writer, terminal bool) *progress {
	return &progress{out: out, terminal: terminal, now: time.Now}
}

// show takes the job as it is now.
func (p *progress) show(job fleet.Job) {
	p.erase()
	if !p.began.Equal(job.StartedAt) {
		if len(p.shown) > 0 {
			fmt.Fprintln(p.out, "  … the spawner was restarted and goes on with it")
		}
		p.began, p.shown = job.StartedAt, nil
	}
	var running []string
	for i, step := range job.Steps {
		if i == len(p.shown) {
			p.shown = append(p.shown, shownStep{})
		}
		before := p.shown[i]
		p.shown[i] = shownStep{step.State, step.Detail}
		switch {
		case step.State.Ended() && before.state != step.State:
			p.line(step)
		case step.State == fleet.JobRunning:
			running = append(running, strings.TrimSpace(stepName(step)+p.since(step)+" "+stepDetail(step)))
			if before != p.shown[i] && !p.terminal {
				fmt.Fprintf(p.out, "  … %s\n", strings.TrimSpace(stepName(step)+"  "+stepDetail(step)))
			}
		}
	}
	if p.terminal && !job.State.Ended() {
		p.write(job, running)
	}
}

// end takes away the line that is written again and again.
func (p *progress) end() { p.erase() }

func (p *progress) line(step fleet.Step) {
	mark := map[fleet.JobState]string{fleet.JobSucceeded: "✓", fleet.JobFailed: "✗", fleet.JobCanceled: "–"}[step.State]
	text := fmt.Sprintf("  %s %s", mark, stepName(step))
	if !step.StartedAt.IsZero() && !step.EndedAt.IsZero() {
		text = fmt.Sprintf("%-38s %7s", text, showSpan(step.EndedAt.Sub(step.StartedAt)))
	}
	if detail := stepDetail(step); detail != "" {
		text += "  " + detail
	}
	fmt.Fprintln(p.out, strings.TrimRight(text, " "))
}

// fewRunning is how many of the steps that run are named, those first that have run the longest.
const fewRunning = 2

// statusWidth is what fits on the narrowest terminal that we care for.
const statusWidth = 78

func (p *progress) write(job fleet.Job, running []string) {
	if more := len(running) - fewRunning; more > 0 {
		running = append(running[:fewRunning:fewRunning], fmt.Sprintf("%d more", more))
	}
	text := "  … " + strings.Join(running, ", ")
	if len(running) == 0 {
		text = "  … " + string(job.State)
	}
	if letters := []rune(text); len(letters) > statusWidth {
		text = string(letters[:statusWidth])
	}
	fmt.Fprint(p.out, text)
	p.status = true
}

func (p *progress) erase() {
	if p.status {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.status = false
	}
}

// since says how long a step has been running, once that is long.
func (p *progress) since(step fleet.Step) string {
	if step.StartedAt.IsZero() {
		return ""
	}
	if took := p.now().Sub(step.StartedAt); took >= time.Second {
		return " " + took.Round(time.Second).String()
	}
	return ""
}

// stepDetail is what there is to say of a step, and how often it was tried.
func stepDetail(step fleet.Step) string {
	detail := printable(step.Detail)
	if step.Attempts > 1 && step.State.Ended() {
		detail = strings.TrimSpace(fmt.Sprintf("%s (%d attempts)", detail, step.Attempts))
	}
	return detail
}

func stepName(step fleet.Step) string {
	return printable(strings.TrimSpace(step.Verb + " " + step.Replica))
}
