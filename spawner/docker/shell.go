package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"edgespawner/fleet"
)

const (
	outputLimit  = 64 << 10 // bytes of a command's output that are kept
	exitPatience = 2 * time.Second
	exitStep     = 5 * time.Millisecond
)

// Shell looks into containers.
type Shell struct{ pool *Pool }

// Shell returns the view of the pool that looks into containers.
func (p *Pool) Shell() *Shell { return &Shell{p} }

// Exec runs a command inside a running container until it ends or ctx does. A
// command that is not there ends with exit code 126 or 127, as a shell says it.
// When ctx ends the command goes on inside: an engine has no call to end it.
func (s *Shell) Exec(ctx context.Context, nodeName, id string, command []string) (result fleet.ExecResult, err error) {
	defer s.pool.observed(nodeName, "run command", time.Now(), &err)
	n, err := s.pool.engine(ctx, nodeName)
	if err != nil {
		return fleet.ExecResult{}, err
	}
	result, err = execute(ctx, n, id, command)
	return result, translate(ctx, n, "run a command in container "+short(id), err)
}

func execute(ctx context.Context, n *node, id string, command []string) (fleet.ExecResult, error) {
	made, err := n.client.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return fleet.ExecResult{}, err
	}
	stream, err := startExec(ctx, n, made.ID)
	if err != nil {
		return fleet.ExecResult{}, err
	}
	defer stream.Close()
	output := &limited{}
	if _, err := stdcopy.StdCopy(output, output, stream); err != nil {
		return fleet.ExecResult{}, err
	}
	code, err := exitCode(ctx, n, made.ID)
	return fleet.ExecResult{ExitCode: code, Output: output.Bytes()}, err
}

// startExec starts the command and returns its output. The SDK's own way takes
// over the connection and then no context can end it: a frozen engine would
// hold the caller forever. Without the upgrade the engine answers the same
// bytes as the body of a plain response.
func startExec(ctx context.Context, n *node, execID string) (io.ReadCloser, error) {
	url := fmt.Sprintf("%s/v%s/exec/%s/start", n.base, n.client.ClientVersion(), execID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"Detach":false,"Tty":false}`))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := n.client.HTTPClient().Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	return nil, refused(response)
}

// refused is the error of an engine's answer that the SDK did not read.
func refused(response *http.Response) error {
	var said struct {
		Message string `json:"message"`
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return err
	}
	if json.Unmarshal(content, &said) != nil || said.Message == "" {
		said.Message = response.Status
	}
	kind := fleet.KindOfHTTPStatus(response.StatusCode)
	for _, r := range readings {
		if r.pattern.MatchString(said.Message) {
			kind = r.kind
			break
		}
	}
	return fleet.Errorf(kind, "cannot run a command: %s", said.Message)
}

// exitCode asks how the command ended. Its output may end a moment before it.
func exitCode(ctx context.Context, n *node, execID string) (int, error) {
	bounded, cancel := context.WithTimeout(ctx, exitPatience)
	defer cancel()
	for {
		state, err := n.client.ContainerExecInspect(bounded, execID)
		if err != nil {
			return 0, err
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-time.After(exitStep):
		case <-bounded.Done():
			return 0, bounded.Err()
		}
	}
}

// limited keeps the first bytes that are written to it and swallows the rest.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := outputLimit - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
