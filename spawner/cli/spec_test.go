package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgespawner/fleet"
)

const seedJSON = `{"name": "api-server", "image": "myapp:latest", "replicas": 3,
 "ports": [{"container_port": 8080, "host_port": 8080, "protocol": "tcp"}],
 "resources": {"cpu_shares": 1024, "memory_mb": 512},
 "health_check": {"type": "http", "endpoint": "http://localhost:8080/health", "interval": "10s", "timeout": "2s", "retries": 3},
 "env": {"KEY": "value"}, "labels": {"traefik.http.middlewares.api-rl.ratelimit.average": "100"},
 "route": {"hosts": ["api.example.com"], "path_prefix": "", "strip_prefix": false, "cookie": {"name": "instance", "value": "api"}, "port": 8080, "protocol": "http", "failover": true, "tls": true},
 "sleep": {"after": "10m", "mode": "stop"}, "wake": {"answer": "auto", "max_wait": "60s", "needs": ["db"]},
 "command": [], "entrypoint": [], "user": "", "workdir": "", "stop_signal": "", "stop_grace": "10s", "restart": "always", "pull": "missing", "networks": [], "update": {"order": "start-first"}}`

const seedYAML = `# the same
name: api-server
image: myapp:latest
replicas: 3
ports:
  - {container_port: 8080, host_port: 8080, protocol: tcp}
resources:
  cpu_shares: 1024
  memory_mb: 512
health_check:
  type: http
  endpoint: http://localhost:8080/health
  interval: 10s
  timeout: 2s
  retries: 3
env:
  KEY: value
labels:
  traefik.http.middlewares.api-rl.ratelimit.average: 100
route:
  hosts: [api.example.com]
  path_prefix: ""
  strip_prefix: false
  cookie: {name: instance, value: api}
  port: 8080
  protocol: http
  failover: true
  tls: true
sleep: {after: 10m, mode: stop}
wake:
  answer: auto
  max_wait: 60s
  needs:
    - db
command: []
entrypoint: []
user: ""
workdir: ""
stop_signal: ""
stop_grace: 10s
restart: always
pull: missing
networks: []
update:
  order: start-first
`

func decode(t *testing.T, text string) (fleet.Spec, error) {
	t.Helper()
	body, err := specJSON([]byte(text))
	if err != nil {
		return fleet.Spec{}, err
	}
	return fleet.DecodeSpec(bytes.NewReader(body))
}

func TestTheSameSpecInYAMLAndInJSON(t *testing.T) {
	wanted, err := decode(t, seedJSON)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(t, seedYAML)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMistakeIsTheSameInYAMLAndInJSON(t *testing.T) {
	const valid = `{"name":"api","image":"a"`
	for _, test := range []struct{ json, yaml string }{
		{`"replica":3`, "replica: 3"},
		{`"replicas":"three"`, "replicas: three"},
		{`"replicas":-1`, "replicas: -1"},
		{`"replicas":1.5`, "replicas: 1.5"},
		{`"route":{"hosts":"api.example.com"}`, "route: {hosts: api.example.com}"},
		{`"route":{"host":["a.example.com"]}`, "route: {host: [a.example.com]}"},
		{`"sleep":{"after":"soon"}`, "sleep: {after: soon}"},
		{`"sleep":{"after":10}`, "sleep: {after: 10}"},
		{`"env":["A=1"]`, "env: [A=1]"},
		{`"route":{"tls":"perhaps"}`, "route: {tls: perhaps}"},
		{`"image":"b"`, "image: b"}, // stands twice
		{`"ports":[{"container_port":1},{"port":2}]`, "ports: [{container_port: 1}, {port: 2}]"},
		{`"update":{"order":"both"}`, "update: {order: both}"},
	} {
		_, wanted := decode(t, valid+","+test.json+"}")
		_, got := decode(t, "name: api\nimage: a\n"+test.yaml+"\n")
		if wanted == nil || got == nil {
			t.Errorf("%s: got %v in JSON, %v in YAML, want errors", test.yaml, wanted, got)
			continue
		}
		if diff := cmp.Diff(wanted.Error(), got.Error()); diff != "" {
			t.Errorf("%s:\n%s", test.yaml, diff)
		}
	}
}

func TestTextInYAMLIsTakenAsItIsWritten(t *testing.T) {
	spec, err := decode(t, "name: api\nimage: a\nenv: {PORT: 8080, DEBUG: true, ZERO: 007, DAY: 2024-01-15, NO: no, EMPTY: '', QUOTED: \"1e3\"}\ncommand: [sleep, 10, off]\n")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"PORT": "8080", "DEBUG": "true", "ZERO": "007", "DAY": "2024-01-15", "NO": "no", "EMPTY": "", "QUOTED": "1e3"}
	if diff := cmp.Diff(want, shownEnv(spec.Env, true)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"sleep", "10", "off"}, spec.Command); diff != "" {
		t.Error(diff)
	}
}

func TestAliasesInYAMLAreFollowed(t *testing.T) {
	spec, err := decode(t, "name: &n api\nimage: *n\nenv: {A: &v one, B: *v}\n")
	if err != nil {
		t.Fatal(err)
	}
	if spec.Image != "api" || spec.Env["B"].Reveal() != "one" {
		t.Errorf("got image %q, B %q", spec.Image, spec.Env["B"].Reveal())
	}
}

func TestYAMLThatIsNoSpecIsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'i'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+p+",", 10), ",") + "]\n"
	}
	for name, text := range map[string]string{
		"broken": "name: [", "two documents": "name: a\n---\nname: b\n", "a list": "- name: a\n", "a word": "api", "aliases": bomb,
		"a list as a name": "? [a]\n: b\n", "infinity": "replicas: .inf\n", "an alias of itself": "name: &a [*a]\n", "nothing": " \n", "a tag": "replicas: !!int x\n",
	} {
		if spec, err := decode(t, text); err == nil {
			t.Errorf("%s: got %+v, want an error", name, spec)
		}
	}
}

func FuzzYAML(f *testing.F) {
	f.Add([]byte(seedYAML))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {a: b}\n: !!binary x\n<<: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if body, err := yamlToJSON(data); err == nil && !json.Valid(body) {
			t.Errorf("%q became %q, which is no JSON", data, body)
		}
	})
}

// bodyOf returns what a deploy with these flags sends.
func bodyOf(t *testing.T, in string, environment []string, args ...string) (body string, failed outcome) {
	t.Helper()
	stub := newSpawner(t, map[string]any{"POST /api/deploy": fleet.Accepted{Service: "api", Unchanged: true, Revision: 1}})
	result := run(t, "", in, append(environment, "SPAWNER_URL", stub.URL), append([]string{"deploy"}, args...)...)
	return stub.body, result
}

func TestFlagsSayOnlyWhatTheyName(t *testing.T) {
	envFile := filepath.Join(t.TempDir(), "app.env")
	if err := os.WriteFile(envFile, []byte("# a comment\n\nA=one=1\r\nB=of file\n  HOME\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := []string{"HOME", "/root"}
	for _, test := range []struct{ args, want string }{
		{"--image b", `{"image":"b"}`},
		{"--replicas 0", `{"replicas":0}`},
		{"--env A=1 --env B=x=y --env HOME", `{"env":{"A":"1","B":"x=y","HOME":"/root"}}`},
		{"--env-file " + envFile + " --env B=2", `{"env":{"A":"one=1","B":"2","HOME":"/root"}}`},
		{"--port 8080:80 --port 127.0.0.1:53:5353/udp --port [::1]:1:2/tcp --port 9000",
			`{"ports":[{"container_port":80,"host_port":8080},{"container_port":5353,"host_port":53,"host_ip":"127.0.0.1","protocol":"udp"},{"container_port":2,"host_port":1,"host_ip":"::1","protocol":"tcp"},{"container_port":9000}]}`},
		{"--host a.example.com --host b.example.com --path /x --strip --tls --route-port 9 --protocol h2c --no-failover",
			`{"route":{"failover":false,"hosts":["a.example.com","b.example.com"],"path_prefix":"/x","port":9,"protocol":"h2c","strip_prefix":true,"tls":true}}`},
		{"--no-failover=false --tls=false", `{"route":{"failover":true,"tls":false}}`},
		{"--cookie instance=api", `{"route":{"cookie":{"name":"instance","value":"api"}}}`},
		{"--sleep-after 10m --sleep-mode pause --wake-answer page --max-wait 30s", `{"sleep":{"after":"10m","mode":"pause"},"wake":{"answer":"page","max_wait":"30s"}}`},
		{"--health http://localhost:1/h", `{"health_check":{"command":[],"endpoint":"http://localhost:1/h","port":0,"type":"http"}}`},
		{"--health tcp", `{"health_check":{"command":[],"endpoint":"","port":0,"type":"tcp"}}`},
		{"--health tcp:9000", `{"health_check":{"command":[],"endpoint":"","port":9000,"type":"tcp"}}`},
		{"--restart never", `{"restart":"never","restart_limit":{"attempts":0,"window":"0s"}}`},
		{"--restart on-failure:5", `{"restart":"on-failure","restart_limit":{"attempts":5,"window":"0s"}}`},
		{"--restart always:5/10m", `{"restart":"always","restart_limit":{"attempts":5,"window":"10m"}}`},
		{"--health none", `{"health_check":{"command":[],"endpoint":"","port":0,"type":"none"}}`},
		{"--memory 512 --cpu 0.5", `{"resources":{"cpu_shares":512,"memory_mb":512}}`},
		{"--memory 512m", `{"resources":{"memory_mb":512}}`},
		{"--memory 1.5GB", `{"resources":{"memory_mb":1536}}`},
		{"--label a.b=c --label d=", `{"labels":{"a.b":"c","d":""}}`},
		{"--env A- --env B=1 --label a.b-", `{"env":{"A":null,"B":"1"},"labels":{"a.b":null}}`},
		{"--volume data:/var/lib/app --volume seed:/seed:ro", `{"volumes":[{"name":"data","path":"/var/lib/app"},{"name":"seed","path":"/seed","read_only":true}]}`},
		{"--constraint zone==eu --constraint node!=node-1 --prefer disk==ssd", `{"placement":{"constraints":["zone==eu","node!=node-1"],"prefer":["disk==ssd"]}}`},
		{"--spread zone:required --spread node --anti-affinity node --strategy binpack", `{"placement":{"anti_affinity":"node","spread":[{"over":"zone","required":true},{"over":"node"}],"strategy":"binpack"}}`},
		{"--anti-affinity none", `{"placement":{"anti_affinity":""}}`},
		{"--network one --network two", `{"networks":["one","two"]}`},
		{"--command sleep --command 10", `{"command":["sleep","10"]}`},
		{"-- sleep --replicas 10", `{"command":["sleep","--replicas","10"]}`},
	} {
		got, result := bodyOf(t, "", environment, append([]string{"--name", "api"}, strings.Fields(test.args)...)...)
		want := strings.Replace(test.want, "{", `{"name":"api",`, 1)
		if result.code != 0 || !sameJSON(t, got, want) {
			t.Errorf("%s:\n got %s\nwant %s\n%+v", test.args, got, want, result)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return cmp.Equal(x, y)
}

func TestFlagsThatDoNotParseAreAllNamedTogether(t *testing.T) {
	body, result := bodyOf(t, "", nil, "--name", "api", "--memory", "much", "--cpu", "-1", "--port", "x:80", "--cookie", "instance",
		"--health", "ping", "--restart", "always:0", "--label", "=x", "--env", "NOWHERE", "--volume", "/srv:/data", "--spread", "zone:always")
	if body != "" || result.code != exitFailed {
		t.Errorf("got %s, %+v", body, result)
	}
	for _, flag := range []string{"--memory", "--cpu", "--port", "--cookie", "--health", "--restart", "--label", "--env", "--volume", "--spread"} {
		if !strings.Contains(result.err, "spawner: "+flag+": ") {
			t.Errorf("%s is not named in\n%s", flag, result.err)
		}
	}
	for _, port := range []string{"", "0", "70000", "80:", ":80", "::1:80:80", "80:80/icmp", "a:80:80:80"} {
		if got, err := parsePorts([]string{port}); err == nil {
			t.Errorf("%q: got %v, want an error", port, got)
		}
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	got, result := bodyOf(t, "name: api\nimage: a\nenv: {A: 1, B: 2}\nroute: {hosts: [a.example.com], tls: true}\n", nil,
		"-f", "-", "--image", "b", "--env", "B=3", "--host", "b.example.com")
	want := `{"name":"api","image":"b","env":{"A":"1","B":"3"},"route":{"hosts":["b.example.com"],"tls":true}}`
	if result.code != 0 || !sameJSON(t, got, want) {
		t.Errorf("got %s, want %s\n%+v", got, want, result)
	}
}

func TestAJSONFileIsSentAsItStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(path, []byte(seedJSON), 0o600); err != nil {
		t.Fatal(err)
	}
	got, result := bodyOf(t, "", nil, "-f", path)
	if result.code != 0 || got != seedJSON {
		t.Errorf("got %s\n%+v", got, result)
	}
}

func TestAWrongFieldInAFileIsNamedBeforeAnythingIsAsked(t *testing.T) {
	got, result := bodyOf(t, "name: api\nimage: a\nroute: {hots: [a]}\n", nil, "-f", "-")
	if got != "" || result.code != exitFailed || !strings.HasPrefix(result.err, "spawner: route.hots: unknown field") {
		t.Errorf("sent %q, %+v", got, result)
	}
}

func TestFlagsAreMergedAndAFileIsNot(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--name", "api", "--force"}, "POST /api/deploy?force=true&merge=true"},
		{[]string{"-f", "-"}, "POST /api/deploy"},
		{[]string{"-f", "-", "--dry-run"}, "POST /api/deploy?dry_run=true"},
	} {
		stub := newSpawner(t, map[string]any{"POST /api/deploy": fleet.Accepted{Service: "api", Unchanged: true}})
		run(t, "", "name: api\nimage: a\n", []string{"SPAWNER_URL", stub.URL}, append([]string{"deploy"}, test.args...)...)
		if diff := cmp.Diff([]string{test.want}, stub.questions()); diff != "" {
			t.Errorf("%v: %s", test.args, diff)
		}
	}
}

func TestTheHostOfADeployIsAHostOrTheSpawner(t *testing.T) {
	stub := newSpawner(t, map[string]any{"POST /api/deploy": fleet.Accepted{Service: "api", Unchanged: true}})
	for _, args := range [][]string{
		{"deploy", "--name", "api", "--host", "a.example.com", "--host", stub.URL},
		{"--host", stub.URL, "deploy", "--name", "api", "--host", "a.example.com"},
	} {
		result := run(t, "", "", nil, args...)
		if result.code != 0 || !sameJSON(t, stub.body, `{"name":"api","route":{"hosts":["a.example.com"]}}`) {
			t.Errorf("%v: sent %s, %+v", args, stub.body, result)
		}
	}
}
