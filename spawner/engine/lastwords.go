package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"edgespawner/fleet"
)

// Bounds of what an event repeats of a failed app's output.
const (
	lastLines       = 10
	lastLineLength  = 200 // bytes
	lastErrorLength = 600
	lastWordsWait   = 3 * time.Second
	shortestSecret  = 4 // a shorter value of env would be found in any text
	secretsAreShown = "redacted"
)

// tellGivenUp records that a replica, or with the last one the service, was given
// up: why, how its app ended, what happens then, and the last lines that it wrote.
// It asks the engine for these beside the actor.
func (a *actor) tellGivenUp(r *replica, text, then string) {
	v := r.look()
	a.engine.group.Go(func() {
		ctx, cancel := a.engine.background(lastWordsWait)
		defer cancel()
		facts, words := a.engine.lastWords(ctx, r, v.app.id)
		a.record(fleet.EventFailed, r, "%s%s; %s%s", text, facts, then, words)
	})
}

// lastWords are how an app ended, by an inspect, and the end of its log; each
// empty where the engine does not tell.
func (e *Engine) lastWords(ctx context.Context, r *replica, id string) (facts, words string) {
	if c, err := e.containers.Inspect(ctx, r.node, id); err == nil && c.Status != fleet.ContainerRunning {
		facts = fmt.Sprintf(" (exit code %d, out of memory: %v)", c.ExitCode, c.OOMKilled)
		if c.Error != "" {
			facts = fmt.Sprintf(" (exit code %d: %s)", c.ExitCode, plain(c.Error, r.print.spec, lastErrorLength))
		}
	}
	var lines []string
	err := e.shell.Logs(ctx, r.node, id, fleet.LogOptions{Tail: lastLines}, func(l fleet.LogLine) error {
		lines = append(lines, "\n  "+plain(l.Text, r.print.spec, lastLineLength))
		if len(lines) > lastLines {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		r.log.Debug("Cannot read the last lines of an app", "error", err)
	}
	if len(lines) > 0 {
		words = ". Its last lines:" + strings.Join(lines, "")
	}
	return facts, words
}

var errEnough = errors.New("enough lines")

// plain is what an app or its engine said as it may stand in an event: of that
// many bytes at most, printable, and without the values of the service's env and
// of its check's headers.
func plain(text string, spec *fleet.Spec, most int) string {
	for _, secret := range secretsOf(spec) {
		text = strings.ReplaceAll(text, secret, secretsAreShown)
	}
	text = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// secretsOf are the values that must not be repeated, line by line, the longest first.
func secretsOf(spec *fleet.Spec) []string {
	var list []string
	add := func(value string) {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= shortestSecret {
				list = append(list, line)
			}
		}
	}
	for _, secret := range spec.Env {
		add(secret.Reveal())
	}
	if spec.HealthCheck != nil {
		for _, value := range spec.HealthCheck.Headers {
			add(value.Reveal())
		}
	}
	slices.SortFunc(list, func(x, y string) int { return cmp.Compare(len(y), len(x)) })
	return list
}
