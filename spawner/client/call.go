package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"edgespawner/fleet"

	"github.com/hashicorp/go-retryablehttp"
)

// maxErrorBody is how much of a refusal is read.
const maxErrorBody = 64 << 10

// call is one request to the API.
type call struct {
	method string
	path   []string // segments; each is escaped
	query  url.Values
	body   []byte // JSON; nil = none
	accept string // empty = application/json
	lastID string // Last-Event-ID
	once   bool   // never tried again
}

// do runs a call and decodes its answer into answer, unless that is nil.
func (c *Client) do(ctx context.Context, k call, answer any) error {
	body, err := c.open(ctx, k)
	if err != nil {
		return err
	}
	defer body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %w", c.shown, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) // so that the connection can be used again
	return nil
}

// open runs a call and returns the body of its answer; a refusal is an error.
func (c *Client) open(ctx context.Context, k call) (io.ReadCloser, error) {
	request, err := c.request(ctx, k)
	if err != nil {
		return nil, err
	}
	var response *http.Response
	switch {
	case k.once:
		response, err = c.reads.HTTPClient.Do(request.Request)
	case k.method == http.MethodGet:
		response, err = c.reads.Do(request)
	default:
		response, err = c.writes.Do(request)
	}
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return nil, c.refusal(response)
	}
	return response.Body, nil
}

func (c *Client) request(ctx context.Context, k call) (*retryablehttp.Request, error) {
	u := c.base.JoinPath(escaped(k.path)...)
	u.RawQuery = k.query.Encode()
	var body any
	if k.body != nil {
		body = k.body
	}
	request, err := retryablehttp.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", c.shown, err)
	}
	header := request.Header
	header.Set("Accept", "application/json")
	if k.accept != "" {
		header.Set("Accept", k.accept)
	}
	if k.body != nil {
		header.Set("Content-Type", "application/json")
	}
	if k.lastID != "" {
		header.Set("Last-Event-ID", k.lastID)
	}
	header.Set("User-Agent", "spawner-client")
	if c.config.UserAgent != "" {
		header.Set("User-Agent", c.config.UserAgent)
	}
	switch {
	case c.config.Token != "":
		header.Set("Authorization", "Bearer "+c.config.Token)
	case c.config.Username != "":
		request.SetBasicAuth(c.config.Username, c.config.Password)
	}
	return request, nil
}

func escaped(segments []string) []string {
	result := make([]string, len(segments))
	for i, segment := range segments {
		result[i] = url.PathEscape(segment)
		if segment == "." || segment == ".." { // JoinPath would clean them
			result[i] = strings.ReplaceAll(segment, ".", "%2E")
		}
	}
	return result
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("cannot reach the spawner at %s: %w", c.shown, err)
}

// refusal makes the spawner's error of an answer; of anybody else's answer, one that says so.
func (c *Client) refusal(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	var answer struct {
		Error   *fleet.Error `json:"error"`
		Message string       `json:"message"` // of /login
	}
	e := &fleet.Error{Kind: fleet.KindOfHTTPStatus(response.StatusCode)}
	err := json.Unmarshal(text, &answer)
	switch {
	case err == nil && answer.Error != nil && answer.Error.Kind != "":
		e = answer.Error
	case err == nil && answer.Message != "":
		e.Message = answer.Message
	default:
		e.Message = fmt.Sprintf("%s answered %s, and not as a spawner does", c.shown, response.Status)
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
