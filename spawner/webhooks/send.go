package webhooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"edgespawner/fleet"
)

const (
	attemptTime = 15 * time.Second // for one attempt, its answer included
	firstPause  = time.Second
	longestWait = time.Minute // between attempts; a Retry-After may ask for more
	mostAsked   = time.Hour   // that a Retry-After may ask for
	mostAnswer  = 64 << 10    // of an answer's body that is read, so that the connection can be used again
)

// newClient makes the client of all receivers. It follows no redirect: the
// receiver is the one that the admin named.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       attemptTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// send makes attempts until the event is taken, is too old, or ctx ends.
func (w *worker) send(ctx context.Context, event fleet.Event) error {
	data, err := body(event)
	if err != nil {
		return err
	}
	request, err := w.request(ctx, event, data)
	if err != nil {
		return err
	}
	client := &retryablehttp.Client{
		HTTPClient: w.sender.client,
		RetryMax:   math.MaxInt,
		CheckRetry: func(ctx context.Context, response *http.Response, err error) (bool, error) {
			return w.again(ctx, event, response, err)
		},
		Backoff: w.pause,
		PrepareRetry: func(r *http.Request) error {
			sign(r, w.key, messageID(w.sender.config.FleetID, event), data, time.Now())
			return nil
		},
		ErrorHandler: func(response *http.Response, err error, _ int) (*http.Response, error) {
			discard(response)
			return nil, err
		},
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	discard(response)
	return nil
}

// discard reads what an answer holds, for the sake of its connection, and forgets it.
func discard(response *http.Response) {
	if response != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, mostAnswer))
		_ = response.Body.Close()
	}
}

func (w *worker) request(ctx context.Context, event fleet.Event, data []byte) (*retryablehttp.Request, error) {
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, w.look().URL, data)
	if err != nil {
		return nil, errors.New("cannot make a request of the webhook's URL")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "spawner-webhook")
	sign(request.Request, w.key, messageID(w.sender.config.FleetID, event), data, time.Now())
	return request, nil
}

// again decides whether another attempt is to be made.
func (w *worker) again(ctx context.Context, event fleet.Event, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	short, why := verdict(response, err)
	if why == nil {
		return false, nil
	}
	w.failed(why, short)
	if w.tooOld(event) {
		return false, errTooOld
	}
	return true, nil
}

// verdict says why an attempt has failed: in short, without what may be private,
// to everybody, and to an admin; nil = it has not.
func verdict(response *http.Response, err error) (short string, why error) {
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL
		}
		return "cannot be reached", err
	}
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return "", nil
	case code >= 300 && code < 400:
		short = fmt.Sprintf("answers %d, a redirect, which is not followed", code)
	default:
		short = fmt.Sprintf("answers %d %s", code, http.StatusText(code))
	}
	return short, errors.New("the receiver " + short)
}

// pause doubles from firstPause to longestWait, less up to a fifth, so that
// webhooks of one receiver do not all come at once. A receiver that asks for more time gets it.
func (w *worker) pause(_, _ time.Duration, attempt int, response *http.Response) time.Duration {
	wait := longestWait
	if attempt < 6 {
		wait = min(wait, firstPause<<attempt)
	}
	wait -= rand.N(wait/5 + 1)
	if response != nil && response.Header.Get("Retry-After") != "" {
		asked := retryablehttp.DefaultBackoff(0, 0, 0, response)
		wait = max(wait, min(asked, mostAsked))
	}
	w.waits(time.Now().Add(wait))
	return wait
}

// test makes one attempt.
func (w *worker) test(ctx context.Context, event fleet.Event) (fleet.WebhookTest, error) {
	data, err := body(event)
	if err != nil {
		return fleet.WebhookTest{}, err
	}
	request, err := w.request(ctx, event, data)
	if err != nil {
		return fleet.WebhookTest{}, err
	}
	once := &retryablehttp.Client{
		HTTPClient:   w.sender.client,
		CheckRetry:   func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	began := time.Now()
	response, err := once.Do(request)
	_, why := verdict(response, err)
	if err == nil {
		discard(response)
	}
	if why != nil {
		return fleet.WebhookTest{}, fleet.Errorf(fleet.BadGateway, "the test was not taken: %s", why)
	}
	return fleet.WebhookTest{Status: response.StatusCode, Took: fleet.Duration(time.Since(began))}, nil
}
