package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of a spec's numbers.
const (
	maxNameLength = 50 // leaves room for -<index>.r<revision> in a DNS label
	minMemoryMB   = 6  // what an engine accepts at least
	maxMemoryMB   = 16 << 20
	maxCPUShares  = 1024 * 1024
	maxDuration   = Duration(366 * 24 * time.Hour)
	maxAttempts   = 1000
	maxWaitLimit  = Duration(time.Hour)
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*[a-z0-9]$`)
	directPattern  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) // Docker's own rule for names
	envPattern     = regexp.MustCompile(`^[^=\x00]+$`)
	networkPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	imagePattern   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$`)
	// signalPattern is signal(7), by name or number.
	signalPattern = regexp.MustCompile(`^(SIG)?(ABRT|ALRM|BUS|CHLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ` +
		`|RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?)$|^([1-9]|[1-5][0-9]|6[0-4])$`)
)

// Validate reports every mistake that can be seen in the spec alone, each an
// *Error that names its field. What only the edge can judge (labels, rules,
// hosts) is checked there.
func (s *Spec) Validate() error {
	v := &validation{}
	s.validateIdentity(v)
	s.validateNumbers(v)
	s.validatePorts(v)
	s.validateSets(v)
	s.validateChoices(v)
	s.validatePlacement(v)
	s.validateVolumes(v)
	if s.Route != nil {
		s.Route.validate(v)
		v.check(s.Route.HasRule() || s.hasRouterLabel(), "route", "has no hosts, path_prefix or cookie, so nothing would reach it")
	}
	if s.HealthCheck != nil {
		s.HealthCheck.validate(v, s.Name)
	}
	return errors.Join(v.mistakes...)
}

type validation struct{ mistakes []error }

func (v *validation) check(ok bool, field, format string, args ...any) {
	if !ok {
		v.mistakes = append(v.mistakes, InvalidField(field, format, args...))
	}
}

// ValidateName says whether name can be a service's name.
func ValidateName(name string) error {
	if len(name) < 2 || len(name) > maxNameLength || !namePattern.MatchString(name) {
		return InvalidField("name", "%q is not a name: 2 to %d lower-case letters, digits and hyphens, not at an end", name, maxNameLength)
	}
	return nil
}

func (s *Spec) validateIdentity(v *validation) {
	switch {
	case s.Name == "":
		v.check(false, "name", "is missing")
	case s.Direct:
		v.check(len(s.Name) <= maxNameLength && directPattern.MatchString(s.Name), "name",
			"%q is not a container's name: 2 to %d letters, digits, and _ . - after the first", s.Name, maxNameLength)
	default:
		if err := ValidateName(s.Name); err != nil {
			v.mistakes = append(v.mistakes, err)
		}
	}
	switch {
	case s.Image == "":
		v.check(false, "image", "is missing")
	default:
		v.check(len(s.Image) <= 512 && imagePattern.MatchString(s.Image), "image", "%q is not an image reference such as app:1.2 or registry:5000/team/app:1.2", s.Image)
	}
}

func (s *Spec) validateNumbers(v *validation) {
	v.check(s.Replicas >= 0 && s.Replicas <= MaxReplicas, "replicas", "%d is not between 0 and %d", s.Replicas, MaxReplicas)
	v.check(!s.Direct || s.Replicas <= 1, "replicas", "a direct instance has one replica, not %d", s.Replicas)
	memory := s.Resources.MemoryMB
	v.check(memory == 0 || memory >= minMemoryMB && memory <= maxMemoryMB, "resources.memory_mb", "%d is not 0 (no limit) or between %d and %d", memory, minMemoryMB, maxMemoryMB)
	cpu := s.Resources.CPUShares
	v.check(cpu == 0 || cpu >= 2 && cpu <= maxCPUShares, "resources.cpu_shares", "%d is not 0 (none) or between 2 and %d; 1024 is one CPU", cpu, maxCPUShares)
	checkDuration(v, "stop_grace", s.StopGrace, 0, Duration(time.Hour))
	attempts := s.RestartLimit.Attempts
	v.check(attempts >= 0 && attempts <= maxAttempts, "restart_limit.attempts", "%d is not 0 (%d) or between 1 and %d", attempts, DefaultRestartAttempts, maxAttempts)
	window := s.RestartLimit.Window
	checkDuration(v, "restart_limit.window", window, 0, maxDuration)
	v.check(window <= 0 || window >= Duration(time.Second), "restart_limit.window", "%s is below 1s; 0s means since it was last up for %s", window, RestartReset)
	checkDuration(v, "sleep.after", s.Sleep.After, 0, maxDuration)
	v.check(s.Sleep.After <= 0 || s.Sleep.After >= Duration(time.Second), "sleep.after", "%s is below 1s; 0s means never", s.Sleep.After)
	checkDuration(v, "wake.max_wait", s.Wake.MaxWait, Duration(time.Second), maxWaitLimit)
}

func checkDuration(v *validation, field string, d, low, high Duration) {
	v.check(d >= low && d <= high, field, "%s is not between %s and %s", d, low, high)
}

func (s *Spec) validatePorts(v *validation) {
	for i, p := range s.Ports {
		field := fmt.Sprintf("ports[%d]", i)
		v.check(validPort(p.ContainerPort), field+".container_port", "%d is not between 1 and 65535", p.ContainerPort)
		v.check(p.HostPort == 0 || validPort(p.HostPort), field+".host_port", "%d is not 0 (not published) or between 1 and 65535", p.HostPort)
		v.check(p.Protocol == "" || p.Protocol == "tcp" || p.Protocol == "udp", field+".protocol", "%q is not tcp or udp", p.Protocol)
		if p.HostIP != "" {
			_, err := netip.ParseAddr(p.HostIP)
			v.check(err == nil, field+".host_ip", "%q is not an IP address", p.HostIP)
		}
		other := slices.IndexFunc(s.Ports[:i], p.excludes)
		v.check(other < 0, field+".host_port", "%d is published by ports[%d] already", p.HostPort, other)
	}
}

// excludes says whether two published ports cannot both be had on one node.
func (p Port) excludes(other Port) bool {
	everywhere := func(ip string) bool {
		address, err := netip.ParseAddr(ip)
		return ip == "" || err == nil && address.IsUnspecified()
	}
	return p.HostPort != 0 && p.HostPort == other.HostPort &&
		cmp.Or(p.Protocol, "tcp") == cmp.Or(other.Protocol, "tcp") &&
		(p.HostIP == other.HostIP || everywhere(p.HostIP) || everywhere(other.HostIP))
}

func validPort(port int) bool { return port >= 1 && port <= 65535 }

func (s *Spec) validateSets(v *validation) {
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		v.check(envPattern.MatchString(key), "env", "%q is not a variable's name", key)
		v.check(!strings.Contains(s.Env[key].Reveal(), "\x00"), "env."+key, "holds a NUL byte")
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		reserved := key == LabelOrigin || strings.HasPrefix(key, "spawner.") || strings.HasPrefix(key, "com.docker.")
		v.check(key != "" && !reserved, "labels."+key, "is a key that the spawner or the engine sets itself")
	}
	s.validateCheckLabels(v)
	seen := map[string]bool{}
	for i, name := range s.Networks {
		field := fmt.Sprintf("networks[%d]", i)
		v.check(networkPattern.MatchString(name) && len(name) <= 64, field, "%q is not a network's name", name)
		v.check(name != "host" && name != "none" && name != "bridge", field, "%q is an engine's own network; name one of yours", name)
		v.check(!seen[name], field, "%q stands twice", name)
		seen[name] = true
	}
	for i, name := range s.Wake.Needs {
		v.check(name != s.Name, fmt.Sprintf("wake.needs[%d]", i), "a service cannot need itself")
		v.check(namePattern.MatchString(name) || directPattern.MatchString(name), fmt.Sprintf("wake.needs[%d]", i), "%q is not a service's name", name)
	}
	v.check(!strings.ContainsAny(s.User, "\x00\n"), "user", "%q is not a user", s.User)
	v.check(s.Workdir == "" || strings.HasPrefix(s.Workdir, "/"), "workdir", "%q is not an absolute path", s.Workdir)
	v.check(s.StopSignal == "" || signalPattern.MatchString(s.StopSignal), "stop_signal", "%q is not a signal such as SIGTERM", s.StopSignal)
}

func (s *Spec) validateChoices(v *validation) {
	oneOf(v, "sleep.mode", s.Sleep.Mode, SleepPause, SleepStop, SleepDeep)
	oneOf(v, "wake.answer", s.Wake.Answer, AnswerAuto, AnswerHold, AnswerPage, AnswerRedirect)
	oneOf(v, "restart", s.Restart, RestartAlways, RestartOnFailure, RestartNever)
	oneOf(v, "pull", s.Pull, PullMissing, PullAlways, PullNever)
	oneOf(v, "update.order", s.Update.Order, StartFirst, StopFirst)
}

func oneOf[T ~string](v *validation, field string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, 0, len(allowed))
	for _, word := range allowed {
		if word != "" { // allowed, since the preset comes later; no word to offer
			words = append(words, string(word))
		}
	}
	v.check(false, field, "%q is not one of %s", string(value), strings.Join(words, ", "))
}

// HasRule says whether the route itself says which requests it takes; if not,
// the labels of the user do.
func (r *Route) HasRule() bool { return len(r.Hosts) > 0 || r.PathPrefix != "" || r.Cookie != nil }

func (s *Spec) hasRouterLabel() bool {
	for key := range s.Labels {
		if strings.HasPrefix(strings.ToLower(key), "traefik.http.routers.") {
			return true
		}
	}
	return false
}

func (r *Route) validate(v *validation) {
	v.check(r.Port == 0 || validPort(r.Port), "route.port", "%d is not 0 (found by itself) or between 1 and 65535", r.Port)
	oneOf(v, "route.protocol", r.Protocol, "", "http", "https", "h2c")
	v.check(!r.StripPrefix || r.PathPrefix != "", "route.strip_prefix", "needs a path_prefix")
	v.check(!r.TLS || len(r.Hosts) > 0, "route.tls", "needs hosts to get a certificate for")
}

// fillDefaults sets what a body may leave empty inside optional parts.
func (s *Spec) fillDefaults() {
	defaults := DefaultSpec()
	fill(&s.Sleep.Mode, defaults.Sleep.Mode)
	fill(&s.Wake.Answer, defaults.Wake.Answer)
	fill(&s.Wake.MaxWait, defaults.Wake.MaxWait)
	fill(&s.Restart, defaults.Restart)
	fill(&s.Pull, defaults.Pull)
	fill(&s.Update.Order, defaults.Update.Order)
	if s.HealthCheck != nil {
		filled := s.HealthCheck.withDefaults()
		s.HealthCheck = &filled
	}
}

func fill[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}
