package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"edgespawner/fleet"
)

// mostTail is how many of the last lines may be asked for; all can be had without a number.
const mostTail = 100_000

func readLogOptions(r *request) (o fleet.LogOptions, err error) {
	o.Tail, o.Replica = -1, r.query.Get("replica")
	if text := r.query.Get("tail"); text != "all" {
		tail, err := r.number("tail", -1, -1, mostTail)
		if err != nil {
			return o, err
		}
		o.Tail = int(tail)
	}
	if o.Since, err = r.moment("since"); err != nil {
		return o, err
	}
	if o.Follow, err = r.flag("follow"); err != nil {
		return o, err
	}
	o.Timestamps, err = r.flag("timestamps")
	return o, err
}

// logs writes lines as they come. A slow reader slows the reading of the logs
// down: no more than one line is held for it.
func (a *API) logs(w http.ResponseWriter, r *request) error {
	o, err := readLogOptions(r)
	if err != nil {
		return err
	}
	name := r.name("name")
	if _, err := a.config.Questions.Service(name); err != nil {
		return err
	}
	media, format := textPlain+"; charset=utf-8", textLine(o)
	if accepts(r.Request, ndjson) {
		media, format = ndjson, jsonLine
	}
	out := &logStream{stream: newStream(w), media: media, follow: o.Follow}
	defer out.end()
	if o.Follow { // nothing may come for long: say that it stands
		if out.write(nil) != nil {
			return nil
		}
		if media == ndjson {
			defer out.keepAlive()()
		}
	}
	err = a.config.Records.Logs(r.Context(), name, o, func(line fleet.LogLine) error { return out.write(format(line)) })
	out.mu.Lock()
	defer out.mu.Unlock()
	if err != nil && !out.begun {
		return err
	}
	out.begin(media)
	if err != nil && !out.gone {
		a.endLogs(r, out.stream, media, err)
	}
	return nil
}

// logStream is a stream that lines and signs of life are written to.
type logStream struct {
	media  string
	follow bool

	mu sync.Mutex
	*stream
}

// write writes a line; nil = nothing, only that the stream stands.
func (s *logStream) write(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(s.media)
	if err := s.stream.write(line); err != nil || !s.follow {
		return err
	}
	return s.flush()
}

// keepAlive writes an empty line now and then, which a reader of JSON passes
// over, so that nothing takes the stream for dead; until the returned function is called.
func (s *logStream) keepAlive() (end func()) {
	ended, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(keepAlive)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if s.write([]byte("\n")) != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// endLogs tells a client whose logs had begun why they end.
func (a *API) endLogs(r *request, out *stream, media string, err error) {
	e := a.told(r.Request, err)
	last := fmt.Appendf(nil, "spawner: the logs break off: %s\n", e)
	if media == ndjson {
		last, _ = json.Marshal(errorAnswer{e})
		last = append(last, '\n')
	}
	_ = out.write(last) // a client that has left cannot be told
}

func jsonLine(line fleet.LogLine) []byte {
	data, _ := json.Marshal(line) // strings and a time: it cannot fail
	return append(data, '\n')
}

// textLine returns the format of a line: its replica before it, unless only one was asked for.
func textLine(o fleet.LogOptions) func(fleet.LogLine) []byte {
	return func(line fleet.LogLine) []byte {
		var text []byte
		if line.Stream == fleet.StreamSpawner {
			return fmt.Appendf(nil, "spawner: %s\n", line.Text)
		}
		if o.Timestamps {
			text = line.Time.UTC().AppendFormat(text, time.RFC3339Nano)
			text = append(text, ' ')
		}
		if o.Replica == "" {
			text = append(append(text, line.Replica...), " | "...)
		}
		return append(append(text, line.Text...), '\n')
	}
}
