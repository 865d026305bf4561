package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgespawner/fleet"
)

// specFlags are the flags of deploy that say what a service is. What was not
// given is not sent, so that it stays as it is.
type specFlags struct {
	name, image, path, protocol, sleepMode, wakeAnswer, health, memory, cpu, cookie, restart string
	sleepAfter, maxWait                                                                      string
	replicas, routePort                                                                      int
	env, envFiles, ports, labels, networks, command                                          []string
	hosts                                                                                    []string // without the spawner's URL, see hostsValue
	strip, tls, noFailover                                                                   bool
	placement                                                                                placementFlags
}

func (f *specFlags) bind(cmd *cobra.Command, url *string) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.name, "name", "", "the service's `name`")
	flags.StringVar(&f.image, "image", "", "the `image` to run")
	flags.IntVar(&f.replicas, "replicas", 1, "let `n` copies run")
	flags.StringArrayVar(&f.env, "env", nil, "a variable as `KEY=VALUE`; KEY alone takes it from the environment, KEY- takes it out; may be repeated")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "variables from a `file`, a KEY=VALUE a line; may be repeated")
	flags.StringArrayVar(&f.ports, "port", nil, "publish a port on the nodes: `[IP:]HOST:CONTAINER[/udp]`, or CONTAINER to declare it only; may be repeated")
	flags.Var(&hostsValue{hosts: &f.hosts, url: url}, "host", "a public host `name` that leads to the service; may be repeated. With ://, the URL of the spawner to call (SPAWNER_URL)")
	flags.StringVar(&f.path, "path", "", "a public path `prefix` that leads to the service")
	flags.BoolVar(&f.strip, "strip", false, "take --path away before the app sees the request")
	flags.StringVar(&f.cookie, "cookie", "", "requests with this cookie lead to the service: `NAME=VALUE`")
	flags.BoolVar(&f.tls, "tls", false, "get a certificate for the hosts, and lead http to https")
	flags.IntVar(&f.routePort, "route-port", 0, "the app's `port` that requests go to (default: the only one)")
	flags.StringVar(&f.protocol, "protocol", "", "what the app speaks: `http|https|h2c`")
	flags.BoolVar(&f.noFailover, "no-failover", false, "leave the app's own 502, 504 and trailers alone")
	flags.StringVar(&f.sleepAfter, "sleep-after", "", "sleep after this `time` without use; 0s = never")
	flags.StringVar(&f.sleepMode, "sleep-mode", "", "how deeply: `pause|stop|deep`")
	flags.StringVar(&f.wakeAnswer, "wake-answer", "", "what the request gets that wakes it: `auto|hold|page|redirect`")
	flags.StringVar(&f.maxWait, "max-wait", "", "let such a request wait at most this `time`")
	flags.StringVar(&f.restart, "restart", "", "which ends of the app are mended, and how often in a row: `always|on-failure|never[:TIMES[/WINDOW]]`")
	flags.StringVar(&f.health, "health", "", "the health check: a `URL|tcp|tcp:PORT|none|docker`")
	flags.StringVar(&f.memory, "memory", "", "reserve and limit memory: `size` such as 512m or 2g")
	flags.StringVar(&f.cpu, "cpu", "", "reserve this `number` of CPUs, such as 0.5")
	flags.StringArrayVar(&f.labels, "label", nil, "a label as `KEY=VALUE`; KEY- takes it out; may be repeated")
	flags.StringArrayVar(&f.networks, "network", nil, "a `network` instead of the fleet's own; may be repeated")
	f.placement.bind(cmd)
	flags.StringArrayVar(&f.command, "command", nil, "a `word` of the command instead of the image's; may be repeated; or all words after --")
	complete(cmd, "protocol", "http", "https", "h2c")
	complete(cmd, "sleep-mode", string(fleet.SleepPause), string(fleet.SleepStop), string(fleet.SleepDeep))
	complete(cmd, "wake-answer", string(fleet.AnswerAuto), string(fleet.AnswerHold), string(fleet.AnswerPage), string(fleet.AnswerRedirect))
	complete(cmd, "restart", string(fleet.RestartAlways), string(fleet.RestartOnFailure), string(fleet.RestartNever))
	complete(cmd, "health", string(fleet.CheckTCP), string(fleet.CheckNone), string(fleet.CheckDocker))
}

// hostsValue is --host of deploy: public hosts, and the URL of the spawner,
// which no host can look like.
type hostsValue struct {
	hosts *[]string
	url   *string
}

func (v *hostsValue) Type() string   { return "stringArray" }
func (v *hostsValue) String() string { return "" }
func (v *hostsValue) Set(text string) error {
	if strings.Contains(text, "://") {
		*v.url = text
	} else {
		*v.hosts = append(*v.hosts, text)
	}
	return nil
}

// object is a part of a deploy body.
type object = map[string]any

// body returns what the given flags say, in the form of a deploy body; after
// are the words after --. lookup reads variables that are given by name alone.
func (f *specFlags) body(flags *pflag.FlagSet, after []string, system System) (object, error) {
	b := &bodyBuilder{flags: flags, body: object{}}
	b.put("name", "name", f.name)
	b.put("image", "image", f.image)
	b.put("replicas", "replicas", f.replicas)
	b.put("network", "networks", f.networks)
	f.route(b)
	f.placement.put(b)
	b.put("sleep-after", "sleep.after", f.sleepAfter)
	b.put("sleep-mode", "sleep.mode", f.sleepMode)
	b.put("wake-answer", "wake.answer", f.wakeAnswer)
	b.put("max-wait", "wake.max_wait", f.maxWait)
	b.parse("memory", "resources.memory_mb", func() (any, error) { return parseMemory(f.memory) })
	b.parse("cpu", "resources.cpu_shares", func() (any, error) { return parseCPU(f.cpu) })
	f.restarts(b)
	b.parse("health", "health_check", func() (any, error) { return parseHealth(f.health) })
	b.parse("port", "ports", func() (any, error) { return parsePorts(f.ports) })
	b.parse("label", "labels", func() (any, error) { return parsePairs(f.labels, nil) })
	b.command(f.command, after)
	if flags.Changed("env") || flags.Changed("env-file") {
		b.set("env", "env", func() (any, error) { return parseEnv(f.envFiles, f.env, system) })
	}
	return b.body, b.err()
}

// restarts names both parts, so that no older limit stays.
func (f *specFlags) restarts(b *bodyBuilder) {
	policy, limit, limited := strings.Cut(f.restart, ":")
	b.put("restart", "restart", policy)
	b.parse("restart", "restart_limit", func() (any, error) { return parseRestartLimit(limit, limited) })
}

func (f *specFlags) route(b *bodyBuilder) {
	if len(f.hosts) > 0 {
		b.set("host", "route.hosts", func() (any, error) { return f.hosts, nil })
	}
	b.put("path", "route.path_prefix", f.path)
	b.put("strip", "route.strip_prefix", f.strip)
	b.parse("cookie", "route.cookie", func() (any, error) { return parseCookie(f.cookie) })
	b.put("tls", "route.tls", f.tls)
	b.put("route-port", "route.port", f.routePort)
	b.put("protocol", "route.protocol", f.protocol)
	b.put("no-failover", "route.failover", !f.noFailover)
}

// merge writes the members of over into base, parts into parts.
func merge(base, over object) object {
	for _, key := range slices.Sorted(maps.Keys(over)) {
		part, isPart := over[key].(object)
		below, hasPart := base[key].(object)
		if isPart && hasPart {
			base[key] = merge(below, part)
		} else {
			base[key] = over[key]
		}
	}
	return base
}
