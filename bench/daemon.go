package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// docker speaks to the engine's socket without the command-line client, whose
// own start would be a good part of what is measured.
var docker = &http.Client{Transport: &http.Transport{
	DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/var/run/docker.sock")
	},
	MaxIdleConnsPerHost: 64,
}}

// call asks the engine; an answer that is no 2xx or 304 fails the benchmark.
func (b *bench) call(method, path string, body, answer any) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			b.Fatalf("cannot write a request: %v", err)
		}
		payload = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, "http://docker/v1.41"+path, payload)
	if err != nil {
		b.Fatalf("cannot make a request: %v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := docker.Do(request)
	if err != nil {
		b.Fatalf("cannot ask the engine: %v", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 && response.StatusCode != 304 {
		b.Fatalf("%s %s: %s %s %v", method, path, response.Status, text, err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			b.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// pod is a sandbox with an app, or an app alone, that the benchmark made
// itself: the floor that the product is measured against.
type pod struct {
	app     string // container id
	address string // host:port
}

// makePod makes one on the network; joined = with a sandbox.
func (b *bench) makePod(name, network string, joined bool) pod {
	create := func(name string, config map[string]any) string {
		var made struct{ Id string }
		b.call("POST", "/containers/create?name="+name, config, &made)
		b.Cleanup(func() { b.call("DELETE", "/containers/"+made.Id+"?force=true&v=true", nil, nil) })
		return made.Id
	}
	appConfig := map[string]any{"Image": "mock-app:latest", "Env": []string{"IDLE=0"}, "HostConfig": map[string]any{"NetworkMode": network}}
	owner := ""
	if joined {
		owner = create(name+".net", map[string]any{"Image": "spawner-sandbox:latest", "HostConfig": map[string]any{"NetworkMode": network}})
		b.call("POST", "/containers/"+owner+"/start", nil, nil)
		appConfig["HostConfig"] = map[string]any{"NetworkMode": "container:" + owner}
	}
	p := pod{app: create(name, appConfig)}
	if owner == "" {
		owner = p.app
		b.call("POST", "/containers/"+p.app+"/start", nil, nil)
	}
	var seen struct {
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	b.call("GET", "/containers/"+owner+"/json", nil, &seen)
	p.address = net.JoinHostPort(seen.NetworkSettings.Networks[network].IPAddress, "9000")
	return p
}

// untilReady does something and returns how long the app then took to its first 200, asked directly.
func (b *bench) untilReady(p pod, do func()) time.Duration {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 50 * time.Millisecond}).DialContext}}
	began := time.Now()
	do()
	for time.Since(began) < 30*time.Second {
		response, err := client.Get("http://" + p.address + "/status")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return time.Since(began)
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
	b.Fatalf("%s is not ready within 30 s", p.address)
	return 0
}

// exec runs a command inside the app until it ends.
func (b *bench) exec(p pod, command ...string) {
	var made struct{ Id string }
	b.call("POST", "/containers/"+p.app+"/exec", map[string]any{"Cmd": command, "AttachStdout": true}, &made)
	b.call("POST", "/exec/"+made.Id+"/start", map[string]any{}, nil)
}

// startsOf counts the starts of a service's apps that the engine has told since a moment.
func (b *bench) startsOf(service string, since time.Time) int {
	filters, err := json.Marshal(map[string][]string{"event": {"start"}, "label": {"spawner.service=" + service, "spawner.role=app"}})
	if err != nil {
		b.Fatalf("cannot write a filter: %v", err)
	}
	path := fmt.Sprintf("/events?since=%d.%09d&until=%d&filters=%s", since.Unix(), since.Nanosecond(), time.Now().Unix()+1, strings.ReplaceAll(string(filters), `"`, "%22"))
	request, err := http.NewRequest("GET", "http://docker/v1.41"+path, nil)
	if err != nil {
		b.Fatalf("cannot make a request: %v", err)
	}
	response, err := docker.Do(request)
	if err != nil {
		b.Fatalf("cannot ask the engine: %v", err)
	}
	defer response.Body.Close()
	count := 0
	for decoder := json.NewDecoder(response.Body); ; count++ {
		var event struct{ Action string }
		if err := decoder.Decode(&event); err != nil {
			return count
		}
	}
}
