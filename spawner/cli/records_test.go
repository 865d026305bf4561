package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

func TestEventsAreShownInTheFormOfTheSeed(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/events": []fleet.Event{
		{ID: 1, Timestamp: at("10:23:45.000"), Type: fleet.EventHealth, Service: "api-server", Message: "Container api-server-2 failed health check"},
		{ID: 2, Timestamp: at("10:23:46.000"), Type: fleet.EventRestart, Service: "api-server", Message: "Restarting api-server-2..."},
		{ID: 3, Timestamp: at("10:23:50.000"), Type: fleet.EventHealth, Service: "api-server", Message: "Container api-server-2 healthy"},
	}})
	got := stub.ask(t, "events", "api-server", "--type", "health", "--since", "2024-01-15 10:00:00", "--limit", "5")
	want := "[2024-01-15 10:23:45] Container api-server-2 failed health check\n[2024-01-15 10:23:46] Restarting api-server-2...\n[2024-01-15 10:23:50] Container api-server-2 healthy\n"
	if got.code != 0 || got.out != want {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"GET /api/events?limit=5&service=api-server&since=2024-01-15T10%3A00%3A00Z&type=health"}, stub.questions()); diff != "" {
		t.Error(diff)
	}
}

func TestEventsAreSelectedAndPaged(t *testing.T) {
	stub := newSpawner(t, map[string]any{"GET /api/events": []fleet.Event{}})
	stub.ask(t, "events", "--type", "wake,sleep", "--type", "failed", "--by", "ci", "--node", "n1", "--replica", "api-1", "--before", "9", "--until", "2024-01-15")
	stub.ask(t, "events", "--after", "0", "--limit", "2")
	want := []string{
		"GET /api/events?before=9&by=ci&node=n1&replica=api-1&type=wake%2Csleep%2Cfailed&until=2024-01-15T00%3A00%3A00Z",
		"GET /api/events?after=0&limit=2",
	}
	if diff := cmp.Diff(want, stub.questions()); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"-f --before 4", "--follow --until 10m", "--after -1", "--limit -1", "--until tomorrow"} {
		if got := stub.ask(t, append([]string{"events"}, strings.Fields(line)...)...); got.code != exitUsage || len(stub.questions()) != 2 {
			t.Errorf("%s: got %+v", line, got)
		}
	}
}

func TestWhatIsNoLongerKeptIsSaidBesideTheEvents(t *testing.T) {
	var out, said bytes.Buffer
	a := &app{System: System{Out: &out, Err: &said}}
	if err := a.printEvent(fleet.Event{Type: fleet.EventGap, Message: "Events 3 to 6 are no longer kept"}); err != nil {
		t.Fatal(err)
	}
	if out.Len() != 0 || said.String() != "spawner: Events 3 to 6 are no longer kept\n" {
		t.Errorf("wrote %q and %q", out.String(), said.String())
	}
}

func TestFollowedEventsEndQuietlyWhenTheUserEndsThem(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stub := newSpawner(t, map[string]any{"GET /api/events": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 7\ndata: {\"id\":7,\"timestamp\":\"2024-01-15T10:23:45Z\",\"message\":\"Container api-server-2 healthy\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})})
	out := &signalling{wanted: "healthy\n", seen: cancel}
	code := Run(ctx, System{Out: out, Err: out, LookupEnv: func(string) (string, bool) { return "", false }}, []string{"events", "-f", "--host", stub.URL})
	if code != 0 || out.String() != "[2024-01-15 10:23:45] Container api-server-2 healthy\n" {
		t.Errorf("got %d, %s", code, out.String())
	}
}

// signalling calls seen once the wanted text was written.
type signalling struct {
	bytes.Buffer
	wanted string
	seen   func()
}

func (s *signalling) Write(data []byte) (int, error) {
	n, err := s.Buffer.Write(data)
	if strings.Contains(s.String(), s.wanted) {
		s.seen()
	}
	return n, err
}

const twoReplicas = `{"time":"2024-01-15T10:23:45.5Z","replica":"api-9","stream":"stdout","text":"one"}
{"time":"2024-01-15T10:23:46Z","replica":"api-10","stream":"stderr","text":"two"}
{"time":"2024-01-15T10:23:47Z","replica":"api-9","stream":"stdout","text":"three"}
`

func logsOf(lines string) map[string]any {
	return map[string]any{"GET /api/services/api/logs": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprint(w, lines)
	})}
}

func TestLogsStandBehindTheNamesOfTheirReplicas(t *testing.T) {
	stub := newSpawner(t, logsOf(twoReplicas))
	for _, test := range []struct{ args, want string }{
		{"", "api-9 | one\napi-10 | two\napi-9  | three\n"},
		{"--timestamps", "api-9 | 2024-01-15T10:23:45.500Z one\napi-10 | 2024-01-15T10:23:46.000Z two\napi-9  | 2024-01-15T10:23:47.000Z three\n"},
		{"--replica 9", "one\ntwo\nthree\n"},
		{"-o json", twoReplicas},
	} {
		if got := stub.ask(t, append([]string{"logs", "api"}, strings.Fields(test.args)...)...); got.code != 0 || got.out != test.want {
			t.Errorf("%s: got %+v", test.args, got)
		}
	}
	want := "GET /api/services/api/logs?replica=api-9&since=2024-01-15T00%3A00%3A00Z&tail=10"
	stub.ask(t, "logs", "api", "--tail", "10", "--since", "2024-01-15", "--replica", "9")
	if asked := stub.questions(); asked[len(asked)-1] != want {
		t.Errorf("asked %s, want %s", asked[len(asked)-1], want)
	}
}

func TestNamesAreColouredOnATerminal(t *testing.T) {
	var out bytes.Buffer
	printer := &logPrinter{out: &out, names: true, colour: true}
	for _, name := range []string{"api-0", "api-1", "api-0"} {
		if err := printer.print(fleet.LogLine{Replica: name, Text: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "\x1b[36mapi-0 |\x1b[0m x\n\x1b[33mapi-1 |\x1b[0m x\n\x1b[36mapi-0 |\x1b[0m x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNothingOfAProgramReachesTheTerminalThatItWouldObey(t *testing.T) {
	for text, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m and \tplain":        "red and \tplain",
		"\x1b]0;title\x07\x1b[2J\x1b[1;1Hgone":    "\ufffd]0;title\ufffd\ufffd[2J\ufffd[1;1Hgone",
		"over\rwritten \b\x7f \u009b31m \xff\x00": "over\ufffdwritten \ufffd\ufffd \ufffd31m \ufffd\ufffd",
		"\u202eright to left":                     "\ufffdright to left",
		"grüße, 世界 🙂":                             "grüße, 世界 🙂",
	} {
		var out bytes.Buffer
		if err := (&logPrinter{out: &out, terminal: true}).print(fleet.LogLine{Text: text}); err != nil || out.String() != want+"\n" {
			t.Errorf("%q: got %q, %v", text, out.String(), err)
		}
		out.Reset()
		if err := (&logPrinter{out: &out}).print(fleet.LogLine{Text: text}); err != nil || out.String() != text+"\n" {
			t.Errorf("%q into a pipe: got %q, %v", text, out.String(), err)
		}
	}
}

func TestJSONHoldsNothingThatATerminalWouldObey(t *testing.T) {
	var out bytes.Buffer
	a := &app{System: System{Out: &out}}
	if err := a.printJSONLine(fleet.LogLine{Text: "a\x1b[1m\u009b31m\u202e\x7f <ü>"}); err != nil {
		t.Fatal(err)
	}
	var back fleet.LogLine
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Text != "a\x1b[1m\u009b31m\u202e\x7f <ü>" {
		t.Errorf("%v, read back %q", err, back.Text)
	}
	if strings.ContainsFunc(out.String(), obeyed) || !strings.Contains(out.String(), `\u009b31m\u202e\u007f <ü>`) {
		t.Errorf("wrote %q", out.String())
	}
}

func TestNamesAreNotColouredWhereTheUserWantsNoColours(t *testing.T) {
	stub := newSpawner(t, logsOf(twoReplicas))
	for value, coloured := range map[string]bool{"": true, "1": false} {
		var out bytes.Buffer
		system := System{Out: &out, Err: &out, OutTerminal: true, LookupEnv: func(name string) (string, bool) { return value, name == "NO_COLOR" && value != "" }}
		if code := Run(t.Context(), system, []string{"logs", "api", "--host", stub.URL}); code != 0 || strings.Contains(out.String(), "\x1b") != coloured {
			t.Errorf("NO_COLOR=%q: %d, %q", value, code, out.String())
		}
	}
}

func TestWhatTheSpawnerSaysOfLogsStandsBesideThem(t *testing.T) {
	stub := newSpawner(t, logsOf(`{"replica":"api-0","stream":"spawner","text":"cannot read the logs of api-0; trying again"}`+"\n"+twoReplicas))
	if got := stub.ask(t, "logs", "api"); got.out != "api-9 | one\napi-10 | two\napi-9  | three\n" || got.err != "spawner: cannot read the logs of api-0; trying again\n" {
		t.Errorf("got %+v", got)
	}
}

func TestLogsThatBreakOffAreAnError(t *testing.T) {
	stub := newSpawner(t, logsOf(`{"replica":"api-0","text":"one"}`+"\n"+`{"error":{"kind":"unavailable","message":"the engine does not answer"}}`))
	if got := stub.ask(t, "logs", "api"); got.code != exitFailed || got.out != "api-0 | one\n" || got.err != "spawner: the engine does not answer\n" {
		t.Errorf("got %+v", got)
	}
}

func TestAMomentIsATimeOrHowLongAgo(t *testing.T) {
	now := at("12:00:00.000")
	for text, want := range map[string]time.Time{
		"": {}, "10m": at("11:50:00.000"), "1h30m": at("10:30:00.000"), "2024-01-15": at("00:00:00.000"),
		"2024-01-15 10:23": at("10:23:00.000"), "2024-01-15 10:23:45": at("10:23:45.000"), "2024-01-15T10:23:45": at("10:23:45.000"), "2024-01-15T12:23:45+02:00": at("10:23:45.000"),
	} {
		if got, err := parseMoment("--since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-10m", "10", "2024-13-01"} {
		if got, err := parseMoment("--since", text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
