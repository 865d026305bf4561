package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

const (
	healthTimeout = 2 * time.Second
	shutdownGrace = 5 * time.Second // for requests under way when it ends
)

// config is what the environment says.
type config struct {
	Port       int           // PORT, default 9000
	Protocol   string        // PROTOCOL: http, or h2c for HTTP/2 and gRPC beside HTTP/1 on the same port
	Connection string        // CONNSTR, shown back
	Version    string        // VERSION, shown back; default dev
	Hostname   string        // of the machine
	Idle       time.Duration // IDLE: it ends after so long without a request for /; 0 = never; default 1m
	StartDelay time.Duration // START_DELAY: before it listens
	ReadyDelay time.Duration // READY_DELAY: it listens, but /status and / answer 503 for so long
	StopDelay  time.Duration // STOP_DELAY: between SIGTERM and its end, without listening
	CrashAfter time.Duration // CRASH_AFTER: exit 1; 0 = never
	Exit       int           // EXIT: ends at once with this code; 0 = does not
	ExitOn     string        // EXIT_ON: ends at once with code 1 where the machine is called so
	ExitLater  int           // EXIT_LATER: as EXIT, but from the second start of its container on
	Unhealthy  bool          // UNHEALTHY: /status answers 503 from the start
	Hang       bool          // HANG: connections are taken and nothing is answered
	IDsFile    string        // IDS_FILE: where /ids remembers; default ids.log
	IDsURL     string        // IDS_URL: each id is posted there before it is acknowledged
}

// readConfig reads the environment; all that does not parse is an error.
func readConfig(getenv func(string) string) (config, error) {
	c := config{
		Port: 9000, Protocol: "http", Version: "dev", Idle: time.Minute,
		Connection: getenv("CONNSTR"), IDsFile: "ids.log", IDsURL: getenv("IDS_URL"),
	}
	var mistakes []error
	read := func(name string, set func(string) error) {
		if text := getenv(name); text != "" {
			if err := set(text); err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s=%q: %w", name, text, err))
			}
		}
	}
	duration := func(name string, d *time.Duration) {
		read(name, func(text string) (err error) {
			if *d, err = time.ParseDuration(text); err == nil && *d < 0 {
				err = errors.New("must not be negative")
			}
			return err
		})
	}
	number := func(name string, n *int, low, high int) {
		read(name, func(text string) (err error) {
			if *n, err = strconv.Atoi(text); err == nil && (*n < low || *n > high) {
				err = fmt.Errorf("must be %d to %d", low, high)
			}
			return err
		})
	}
	flag := func(name string, b *bool) {
		read(name, func(text string) (err error) { *b, err = strconv.ParseBool(text); return err })
	}
	text := func(name string, s *string) { read(name, func(value string) error { *s = value; return nil }) }

	number("PORT", &c.Port, 1, 65535)
	number("EXIT", &c.Exit, 0, 255)
	number("EXIT_LATER", &c.ExitLater, 0, 255)
	duration("IDLE", &c.Idle)
	duration("START_DELAY", &c.StartDelay)
	duration("READY_DELAY", &c.ReadyDelay)
	duration("STOP_DELAY", &c.StopDelay)
	duration("CRASH_AFTER", &c.CrashAfter)
	flag("UNHEALTHY", &c.Unhealthy)
	flag("HANG", &c.Hang)
	text("VERSION", &c.Version)
	text("EXIT_ON", &c.ExitOn)
	text("IDS_FILE", &c.IDsFile)
	read("PROTOCOL", func(value string) error {
		if value != "http" && value != "h2c" {
			return errors.New("must be http or h2c")
		}
		c.Protocol = value
		return nil
	})
	var err error
	if c.Hostname, err = os.Hostname(); err != nil {
		mistakes = append(mistakes, err)
	}
	return c, errors.Join(mistakes...)
}
