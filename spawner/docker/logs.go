package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"edgespawner/fleet"
)

// lineLimit is how long a line of logs may be, in bytes; a longer one is told
// in pieces, so that a program that never breaks its line costs no more memory.
const lineLimit = 64 << 10

// Logs sends the container's lines in the order of the engine and returns at
// their end, with line's error, or with ctx's. Replica is left empty.
func (s *Shell) Logs(ctx context.Context, nodeName, id string, o fleet.LogOptions, line func(fleet.LogLine) error) error {
	n, err := s.pool.engine(ctx, nodeName)
	if err != nil {
		return err
	}
	verb := "read the logs of container " + short(id)
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: o.Follow, Tail: "all"}
	if o.Tail >= 0 {
		options.Tail = strconv.Itoa(o.Tail)
	}
	if !o.Since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", o.Since.Unix(), o.Since.Nanosecond())
	}
	stream, err := n.client.ContainerLogs(ctx, id, options)
	if err != nil {
		return translate(ctx, n, verb, err)
	}
	defer stream.Close()
	out, errOut := &lines{stream: "stdout", tell: line}, &lines{stream: "stderr", tell: line}
	_, err = stdcopy.StdCopy(out, errOut, stream)
	if err == nil {
		err = errors.Join(out.flush(), errOut.flush())
	}
	var told *tellError
	switch {
	case errors.As(err, &told):
		return told.cause
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return translate(ctx, n, verb, err)
	}
}

// tellError is an error of the reader of the lines, not of the engine.
type tellError struct{ cause error }

func (e *tellError) Error() string { return e.cause.Error() }

// lines makes lines of the frames of one stream. Each Write is one frame: a
// time, a space and a piece of a line of at most 16 KiB, which ends with a
// line break only if it is the last piece.
type lines struct {
	stream string
	tell   func(fleet.LogLine) error
	at     time.Time // of the first piece of the line begun
	begun  []byte
}

func (l *lines) Write(frame []byte) (int, error) {
	at, text := cutTime(frame)
	if len(l.begun) == 0 {
		l.at = at
	}
	for {
		piece, rest, ended := bytes.Cut(text, []byte{'\n'})
		l.begun = append(l.begun, piece...)
		if !ended {
			break
		}
		if err := l.flushLine(); err != nil {
			return 0, err
		}
		l.at, text = at, rest
		if len(text) == 0 {
			break
		}
	}
	for len(l.begun) >= lineLimit {
		if err := l.flushLine(); err != nil {
			return 0, err
		}
	}
	return len(frame), nil
}

// flush tells a line that the end of the logs has cut off.
func (l *lines) flush() error {
	if len(l.begun) == 0 {
		return nil
	}
	return l.flushLine()
}

func (l *lines) flushLine() error {
	text := string(bytes.TrimSuffix(l.begun, []byte{'\r'}))
	l.begun = l.begun[:0]
	if err := l.tell(fleet.LogLine{Time: l.at, Stream: l.stream, Text: text}); err != nil {
		return &tellError{err}
	}
	return nil
}

// cutTime takes the engine's time off a frame; a frame without one keeps all.
func cutTime(frame []byte) (time.Time, []byte) {
	stamp, rest, found := bytes.Cut(frame, []byte{' '})
	if !found {
		return time.Time{}, frame
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return time.Time{}, frame
	}
	return at.UTC(), rest
}
