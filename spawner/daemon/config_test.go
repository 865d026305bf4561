package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"edgespawner/fleet"
)

// flagValues has, for every flag, a value that is not its default.
var flagValues = map[string]string{
	"acme-edge":                "front",
	"allow-forward-auth":       "true",
	"api-address":              "127.0.0.1:9008",
	"api-tls-cert":             "/tls/cert.pem",
	"api-tls-key":              "/tls/key.pem",
	"cert-resolver":            "letsencrypt",
	"container-prefix":         "/mycustomprefix",
	"cookie-fallback-url":      "http://localhost/home",
	"cookie-key":               "minion",
	"direct-api-auth":          "off",
	"node-address":             "10.0.0.1",
	"node-label":               "zone=b,disk=ssd",
	"docker-host":              "tcp://10.0.0.1:2376",
	"edge":                     "front=http://127.0.0.1:80,https://127.0.0.1:443,metrics+http://127.0.0.1:8082/metrics",
	"edge-catch-all":           "false",
	"edge-default-certificate": "false",
	"edge-token":               "quite-secret",
	"edge-token-file":          "/run/secrets/edge",
	"events-keep":              "9",
	"events-keep-for":          "48h",
	"fallback-address":         ":9000",
	"fallback-url":             "http://spawner:9000",
	"fleet":                    "blue",
	"health-check-interval":    "10s",
	"health-check-retries":     "5",
	"http-port":                "8080",
	"http-probe-ok-status":     "204",
	"http-probe-timeout":       "20s",
	"https-port":               "8443",
	"listen-address":           "127.0.0.2",
	"log-format":               "json",
	"log-level":                "debug",
	"max-held":                 "5",
	"max-starts":               "3",
	"node-probe-interval":      "2s",
	"node-suspect-after":       "4s",
	"node-down-after":          "8s",
	"node-silence-window":      "20s",
	"port-range":               "30000-30999",
	"network":                  "othernet",
	"node-name":                "alpha",
	"password-file":            "/etc/spawner/passwords",
	"port":                     "9009",
	"public-entrypoints":       "public,public-tls",
	"queue-size":               "7",
	"pull-timeout":             "5m",
	"redirect-timeout":         "5s",
	"sandbox-binary":           "/opt/sandbox",
	"sandbox-image":            "sandbox:1",
	"shutdown-timeout":         "1m",
	"state-dir":                "/tmp/state",
	"subnet":                   "10.9.0.0/16",
	"traefik-base-url":         "http://traefik:8080",
	"traefik-check-enabled":    "false",
	"traefik-platform":         "docker",
	"use-cookie-routing":       "false",
	"use-path-routing":         "true",
	"worker-count":             "2",
}

func bound() (*Config, *pflag.FlagSet) {
	config := DefaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.BindFlags(flags)
	return &config, flags
}

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func configsAreEqual(a, b Config) bool {
	return cmp.Equal(a, b, cmp.Exporter(func(reflect.Type) bool { return true }))
}

func TestEveryFlagHasATwinInTheEnvironment(t *testing.T) {
	_, all := bound()
	all.VisitAll(func(flag *pflag.Flag) {
		t.Run(flag.Name, func(t *testing.T) {
			value, ok := flagValues[flag.Name]
			if !ok {
				t.Fatalf("--%s has no row in flagValues", flag.Name)
			}
			byFlag, flags := bound()
			if err := flags.Parse([]string{"--" + flag.Name + "=" + value}); err != nil {
				t.Fatal(err)
			}
			byTwin, flags := bound()
			if err := ReadEnvironment(flags, environment(EnvName(flag.Name), value)); err != nil {
				t.Fatal(err)
			}
			if !configsAreEqual(*byFlag, *byTwin) {
				t.Errorf("--%s gives %+v\n%s gives %+v", flag.Name, *byFlag, EnvName(flag.Name), *byTwin)
			}
			if configsAreEqual(*byFlag, DefaultConfig()) {
				t.Errorf("--%s=%s changes nothing", flag.Name, value)
			}
		})
	})
}

func TestEverySettingHasAFlag(t *testing.T) {
	config, flags := bound()
	for name, value := range flagValues {
		if err := flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	var walk func(path string, got, fresh reflect.Value)
	walk = func(path string, got, fresh reflect.Value) {
		for i := range got.NumField() {
			field := path + got.Type().Field(i).Name
			if got.Type().Field(i).Type == reflect.TypeFor[Direct]() {
				walk(field+".", got.Field(i), fresh.Field(i))
			} else if field != "Version" && got.Field(i).Comparable() && got.Field(i).Equal(fresh.Field(i)) { // the version is the program's
				t.Errorf("no flag sets Config.%s", field)
			}
		}
	}
	walk("", reflect.ValueOf(*config), reflect.ValueOf(DefaultConfig()))
}

func TestAFlagWinsOverItsTwin(t *testing.T) {
	config, flags := bound()
	if err := flags.Parse([]string{"--network=byflag"}); err != nil {
		t.Fatal(err)
	}
	if err := config.Load(flags, environment("SPAWNER_NETWORK", "bytwin")); err != nil {
		t.Fatal(err)
	}
	if config.Network != "byflag" {
		t.Errorf("got network %s, want byflag", config.Network)
	}
}

func TestTwinsThatDoNotParseAreAllNamedTogether(t *testing.T) {
	config, flags := bound()
	err := config.Load(flags, environment("SPAWNER_HTTP_PORT", "eighty", "SPAWNER_EDGE_CATCH_ALL", "maybe",
		"SPAWNER_SHUTDOWN_TIMEOUT", "10", "SPAWNER_LOG_LEVEL", "loud", "SPAWNER_SUBNET", "here", "SPAWNER_EDGE", "front"))
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"--http-port (SPAWNER_HTTP_PORT): ", "--edge-catch-all (SPAWNER_EDGE_CATCH_ALL): ",
		"--shutdown-timeout (SPAWNER_SHUTDOWN_TIMEOUT): ", "--log-level (SPAWNER_LOG_LEVEL): ", "--subnet (SPAWNER_SUBNET): ", "--edge (SPAWNER_EDGE): "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestAnEmptyTwinCountsAsAbsent(t *testing.T) {
	config, flags := bound()
	if err := config.Load(flags, environment("SPAWNER_HTTP_PORT", "", "SPAWNER_SUBNET", "")); err != nil {
		t.Fatal(err)
	}
	if config.HTTPPort != DefaultHTTPPort {
		t.Errorf("got port %d, want %d", config.HTTPPort, DefaultHTTPPort)
	}
}

func TestOneRoutingFlagAloneDecidesTheOther(t *testing.T) {
	for _, test := range []struct {
		args         []string
		path, cookie bool
		valid        bool
	}{
		{nil, false, true, true},
		{[]string{"-use-path-routing=true"}, true, false, true},
		{[]string{"--use-path-routing"}, true, false, true},
		{[]string{"--use-path-routing=false"}, false, true, true},
		{[]string{"-use-cookie-routing=false"}, true, false, true},
		{[]string{"-use-cookie-routing=true"}, false, true, true},
		{[]string{"--use-path-routing=true", "--use-cookie-routing=false"}, true, false, true},
		{[]string{"--use-path-routing=true", "--use-cookie-routing=true"}, true, true, false},
		{[]string{"--use-path-routing=false", "--use-cookie-routing=false"}, false, false, false},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			config, flags := bound()
			if err := flags.Parse(TwoDashes(flags, test.args)); err != nil {
				t.Fatal(err)
			}
			if err := config.Load(flags, environment()); err != nil {
				t.Fatal(err)
			}
			if config.Direct.PathRouting != test.path || config.Direct.CookieRouting != test.cookie {
				t.Errorf("got path %v, cookie %v", config.Direct.PathRouting, config.Direct.CookieRouting)
			}
			if err := config.Validate(); (err == nil) != test.valid {
				t.Errorf("got %v, want valid %v", err, test.valid)
			}
		})
	}
}

func TestTheRoutingTwinsDecideLikeTheFlags(t *testing.T) {
	config, flags := bound()
	if err := config.Load(flags, environment("SPAWNER_USE_PATH_ROUTING", "true")); err != nil {
		t.Fatal(err)
	}
	if !config.Direct.PathRouting || config.Direct.CookieRouting {
		t.Errorf("got path %v, cookie %v, want path alone", config.Direct.PathRouting, config.Direct.CookieRouting)
	}
}

func TestOneDashIsReadAsTwoForKnownLongFlags(t *testing.T) {
	_, flags := bound()
	got := TwoDashes(flags, []string{"-use-path-routing=true", "-container-prefix", "/x", "--port", "1", "-h", "-unknown", "-", "--", "-port"})
	want := []string{"--use-path-routing=true", "--container-prefix", "/x", "--port", "1", "-h", "-unknown", "-", "--", "-port"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheOlderSpellingSetsTheAddressOfTheAPI(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--listen-address=10.0.0.1 --port=9", "10.0.0.1:9"},
		{"--listen-address=::1", "[::1]:8008"},
		{"--port=9", "127.0.0.1:9"},
		{"--port=9 --api-address=127.0.0.1:9", "127.0.0.1:9"},
		{"--port=9 --api-address=127.0.0.1:10", ""},
	} {
		config, flags := bound()
		if err := flags.Parse(strings.Fields(test.args)); err != nil {
			t.Fatal(err)
		}
		err := config.Load(flags, environment())
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: got no error", test.args)
			}
		} else if err != nil || config.APIAddress != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.args, config.APIAddress, err, test.want)
		}
	}
}

func TestTheEngineIsTheFlagsThenDockersThenTheDefault(t *testing.T) {
	for _, test := range []struct{ flag, docker, want string }{
		{"", "", DefaultDockerHost},
		{"", "tcp://a:1", "tcp://a:1"},
		{"ssh://b", "tcp://a:1", "ssh://b"},
	} {
		config, flags := bound()
		config.DockerHost = test.flag
		if err := config.Load(flags, environment("DOCKER_HOST", test.docker)); err != nil {
			t.Fatal(err)
		}
		if config.DockerHost != test.want {
			t.Errorf("got %s, want %s", config.DockerHost, test.want)
		}
	}
}

func TestTheEdgeTokenIsReadFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("quite-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, flags := bound()
	if err := config.Load(flags, environment("SPAWNER_EDGE_TOKEN_FILE", path)); err != nil {
		t.Fatal(err)
	}
	if got := config.EdgeToken.Reveal(); got != "quite-secret" {
		t.Errorf("got %q", got)
	}
	config, flags = bound()
	err := config.Load(flags, environment("SPAWNER_EDGE_TOKEN_FILE", path, "SPAWNER_EDGE_TOKEN", "another"))
	if err == nil || strings.Contains(err.Error(), "another") {
		t.Errorf("got %v, want an error without the token", err)
	}
}

func TestEdgesAreReadFromRepeatedFlagsAndFromOneVariable(t *testing.T) {
	want := []Edge{
		{Name: "a", Web: "http://127.0.0.1:80", WebSecure: "https://127.0.0.1:443", Metrics: "http://127.0.0.1:8082/metrics"},
		{Name: "b", Web: "http://10.0.0.2"},
	}
	config, flags := bound()
	if err := config.Load(flags, environment("SPAWNER_EDGE",
		"a=http://127.0.0.1:80/,https://127.0.0.1:443,metrics+http://127.0.0.1:8082/metrics; b=http://10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, config.Edges); diff != "" {
		t.Error(diff)
	}
	config, flags = bound()
	if err := flags.Parse([]string{"--edge", want[0].String(), "--edge", want[1].String()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, config.Edges); diff != "" {
		t.Error(diff)
	}
}

func TestABrokenEdgeIsRefused(t *testing.T) {
	for _, text := range []string{"", "front", "=http://a", "front=", "front=ftp://a", "front=http://", "front=http://a,http://b", "front=http://a,", "a b=http://a"} {
		if edge, err := ParseEdge(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, edge)
		}
	}
	_, flags := bound()
	if err := flags.Parse([]string{"--edge=a=http://a", "--edge=a=http://b"}); err == nil {
		t.Error("two edges of one name: got no error")
	}
}

func TestTheDefaultsAreValid(t *testing.T) {
	config, flags := bound()
	if err := config.Load(flags, environment()); err != nil {
		t.Fatal(err)
	}
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsAllMistakesAtOnce(t *testing.T) {
	args := []string{"--api-address=8008", "--fallback-address=:70000", "--api-tls-cert=/nowhere", "--password-file=/nowhere",
		"--direct-api-auth=perhaps", "--fallback-url=spawner:8000", "--state-dir=", "--fleet=a b", "--node-name=-", "--network=a/b",
		"--sandbox-image=", "--sandbox-binary=/nowhere", "--docker-host=/var/run/docker.sock", "--node-address=host", "--node-label=a b=c", "--subnet=10.0.0.1/8", "--public-entrypoints=a,b,c",
		"--cert-resolver=a@b", "--acme-edge=a b", "--http-port=0", "--https-port=65536", "--max-held=0", "--max-starts=-1", "--node-probe-interval=0s", "--node-suspect-after=-1s", "--node-down-after=-2s", "--node-silence-window=0s", "--port-range=30-20", "--worker-count=0",
		"--queue-size=0", "--events-keep=-1", "--events-keep-for=-1s", "--pull-timeout=0s", "--log-format=xml", "--shutdown-timeout=0s", "--container-prefix=x", "--redirect-timeout=-1s",
		"--cookie-key=a b", "--cookie-fallback-url=//evil", "--health-check-interval=0s", "--health-check-retries=0",
		"--http-probe-ok-status=20", "--http-probe-timeout=0s", "--use-path-routing", "--use-cookie-routing"}
	config, flags := bound()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := config.Load(flags, environment()); err != nil {
		t.Fatal(err)
	}
	err := config.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, arg := range args[:len(args)-1] { // the last two are one mistake
		flag, _, _ := strings.Cut(arg, "=")
		if !strings.Contains(err.Error(), flag+": ") {
			t.Errorf("%s is not named", flag)
		}
	}
	var first *fleet.Error
	if !errors.As(err, &first) || first.Kind != fleet.Invalid {
		t.Errorf("got %T, want errors of kind invalid", err)
	}
}

func TestTheDirectAPIIsOpenOnLoopbackOnly(t *testing.T) {
	for _, test := range []struct {
		address string
		ok      bool
	}{
		{"127.0.0.1:8008", true}, {"127.9.9.9:1", true}, {"[::1]:8008", true}, {"localhost:8008", true}, {"[::ffff:127.0.0.1]:8008", true},
		{":8008", false}, {"0.0.0.0:8008", false}, {"[::]:8008", false}, {"10.0.0.1:8008", false}, {"control:8008", false}, {"localhost.example.com:8008", false},
	} {
		config, flags := bound()
		if err := flags.Parse([]string{"--direct-api-auth=off", "--api-address=" + test.address}); err != nil {
			t.Fatal(err)
		}
		if err := config.Load(flags, environment()); err != nil {
			t.Fatal(err)
		}
		if err := config.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want ok %v", test.address, err, test.ok)
		}
	}
}

func TestSettingsThatDoNothingAreNoted(t *testing.T) {
	config, flags := bound()
	if err := flags.Parse(TwoDashes(flags, []string{"-traefik-base-url=http://traefik:8080", "-traefik-platform=docker"})); err != nil {
		t.Fatal(err)
	}
	if got := len(config.Notes()); got != 2 {
		t.Errorf("got %d notes, want 2", got)
	}
}
