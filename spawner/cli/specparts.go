package cli

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"edgespawner/fleet"
)

// bodyBuilder puts what flags say where a spec has it.
type bodyBuilder struct {
	flags    *pflag.FlagSet
	body     object
	mistakes []error
}

func (b *bodyBuilder) err() error { return errors.Join(b.mistakes...) }

// put puts a flag's value at a path of the spec, if the flag was given.
func (b *bodyBuilder) put(flag, path string, value any) {
	b.parse(flag, path, func() (any, error) { return value, nil })
}

// parse does the same for a value that has to be read first.
func (b *bodyBuilder) parse(flag, path string, read func() (any, error)) {
	if b.flags.Changed(flag) {
		b.set(flag, path, read)
	}
}

func (b *bodyBuilder) set(flag, path string, read func() (any, error)) {
	value, err := read()
	if err != nil {
		b.mistakes = append(b.mistakes, fleet.InvalidField("--"+flag, "%v", err))
		return
	}
	place := b.body
	for {
		head, rest, more := strings.Cut(path, ".")
		if !more {
			place[head] = value
			return
		}
		below, ok := place[head].(object)
		if !ok {
			below = object{}
			place[head] = below
		}
		place, path = below, rest
	}
}

func (b *bodyBuilder) command(words, after []string) {
	switch {
	case len(words) > 0 && len(after) > 0:
		b.mistakes = append(b.mistakes, fleet.InvalidField("--command", "is given together with words after --: give one of them"))
	case len(words)+len(after) > 0:
		b.body["command"] = append(words, after...)
	}
}

// parsePairs reads KEY=VALUE, and KEY- for one to be taken out; lookup, unless
// nil, gives the value of a KEY alone.
func parsePairs(pairs []string, lookup func(string) (string, bool)) (object, error) {
	values := object{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if key == "" {
			return nil, fmt.Errorf("%q is not KEY=VALUE", pair)
		}
		if gone, out := strings.CutSuffix(key, "-"); out && !ok && gone != "" {
			values[gone] = nil
			continue
		}
		if !ok {
			if lookup == nil {
				return nil, fmt.Errorf("%q is neither KEY=VALUE nor KEY-", pair)
			}
			if value, ok = lookup(key); !ok {
				return nil, fmt.Errorf("%s is not set in the environment: give it as %s=VALUE", key, key)
			}
		}
		values[key] = value
	}
	return values, nil
}

// parseEnv reads the files in order, then the pairs, the later of a key winning.
func parseEnv(files, pairs []string, system System) (object, error) {
	values := object{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for number, line := range strings.Split(string(data), "\n") {
			line = strings.TrimLeft(strings.TrimRight(line, "\r"), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			one, err := parsePairs([]string{line}, system.LookupEnv)
			if err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", path, number+1, err)
			}
			merge(values, one)
		}
	}
	given, err := parsePairs(pairs, system.LookupEnv)
	return merge(values, given), err
}

// parsePorts reads [IP:]HOST:CONTAINER[/PROTO], or CONTAINER[/PROTO].
func parsePorts(texts []string) ([]fleet.Port, error) {
	ports := []fleet.Port{}
	for _, text := range texts {
		port, err := parsePort(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not [IP:]HOST:CONTAINER[/tcp|/udp], such as 8080:80", text)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func parsePort(text string) (port fleet.Port, err error) {
	numbers, protocol, ok := strings.Cut(text, "/")
	if port.Protocol = protocol; ok && protocol != "tcp" && protocol != "udp" {
		return port, errors.New("protocol")
	}
	outside, container := "", numbers
	if i := strings.LastIndexByte(numbers, ':'); i >= 0 {
		outside, container = numbers[:i], numbers[i+1:]
		host := outside
		if strings.Contains(outside, ":") {
			if port.HostIP, host, err = net.SplitHostPort(outside); err != nil || port.HostIP == "" {
				return port, errors.New("address")
			}
		}
		if port.HostPort, err = parsePortNumber(host); err != nil {
			return port, err
		}
	}
	port.ContainerPort, err = parsePortNumber(container)
	return port, err
}

func parsePortNumber(text string) (int, error) {
	number, err := strconv.ParseUint(text, 10, 16)
	if err == nil && number == 0 {
		err = errors.New("zero")
	}
	return int(number), err
}

// memoryUnits are in MiB; the longer spellings first.
var memoryUnits = []struct {
	suffix string
	mib    float64
}{{"gib", 1024}, {"mib", 1}, {"gb", 1024}, {"mb", 1}, {"g", 1024}, {"m", 1}, {"", 1}}

// parseMemory reads a size in MiB, or with m or g behind it.
func parseMemory(text string) (int, error) {
	for _, unit := range memoryUnits {
		number, ok := strings.CutSuffix(strings.ToLower(text), unit.suffix)
		if !ok {
			continue
		}
		size, err := strconv.ParseFloat(number, 64)
		if mib := size * unit.mib; err == nil && mib >= 0 && mib <= math.MaxInt32 && mib == math.Trunc(mib) {
			return int(mib), nil
		}
		break
	}
	return 0, fmt.Errorf("%q is not a size such as 512m or 2g", text)
}

// parseCPU reads a number of CPUs as shares of 1024.
func parseCPU(text string) (int, error) {
	const sharesOfOne, most = 1024, 4096
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !(number >= 0 && number <= most) {
		return 0, fmt.Errorf("%q is not a number of CPUs such as 0.5 or 2", text)
	}
	return int(math.Round(number * sharesOfOne)), nil
}

func parseCookie(text string) (object, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return nil, fmt.Errorf("%q is not NAME=VALUE", text)
	}
	return object{"name": name, "value": value}, nil
}

// parseRestartLimit reads TIMES or TIMES/WINDOW.
func parseRestartLimit(text string, given bool) (object, error) {
	limit := object{"attempts": 0, "window": "0s"}
	if !given {
		return limit, nil
	}
	times, window, within := strings.Cut(text, "/")
	number, err := strconv.ParseUint(times, 10, 16)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("%q is not a number of restarts, such as on-failure:5 or on-failure:5/10m", text)
	}
	limit["attempts"] = int(number)
	if within {
		limit["window"] = window
	}
	return limit, nil
}

// parseHealth names every part of a check, so that none of an older one stays.
func parseHealth(text string) (object, error) {
	check := object{"type": text, "endpoint": "", "port": 0, "command": []string{}}
	kind, port, hasPort := strings.Cut(text, ":")
	switch {
	case strings.Contains(text, "://"):
		check["type"], check["endpoint"] = fleet.CheckHTTP, text
	case text == string(fleet.CheckTCP), text == string(fleet.CheckNone):
	case text == string(fleet.CheckDocker): // the image says these
		check["interval"], check["timeout"], check["retries"] = "0s", "0s", 0
	case hasPort && kind == string(fleet.CheckTCP):
		number, err := parsePortNumber(port)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port", port)
		}
		check["type"], check["port"] = fleet.CheckTCP, number
	default:
		return nil, fmt.Errorf("%q is not a URL such as http://localhost:8080/health, tcp, tcp:PORT, none or docker", text)
	}
	return check, nil
}
