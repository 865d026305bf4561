package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// A spawner that is being replaced is back within 2 s; who calls one that is
// not there at all wants to hear so soon.
const (
	retries      = 4
	retryWaitMin = 100 * time.Millisecond
	retryWaitMax = time.Second
)

func retrying(plain *http.Client, again retryablehttp.CheckRetry) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   plain,
		RetryMax:     retries,
		RetryWaitMin: retryWaitMin,
		RetryWaitMax: retryWaitMax,
		Backoff:      backoff,
		CheckRetry:   again,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// backoff doubles the pause up to retryWaitMax, whatever an answer asks for:
// whoever is called must not make the caller sleep.
func backoff(low, high time.Duration, attempt int, response *http.Response) time.Duration {
	return min(retryablehttp.DefaultBackoff(low, high, attempt, response), high)
}

// retryRead tries again what only asks: after any broken connection, when
// something in between answers that the spawner is away, and when it says itself
// that it is beginning or ending.
func retryRead(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return mayPass(err), nil
	}
	switch response.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true, nil
	case http.StatusServiceUnavailable:
		return response.Header.Get("Retry-After") != "", nil
	}
	return false, nil
}

// retryWrite tries again only what was surely not sent: a dial that failed.
func retryWrite(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial" && mayPass(err), nil
}

// mayPass says whether the same call can succeed a moment later.
func mayPass(err error) bool {
	var certificate *tls.CertificateVerificationError
	var key *HostKeyError
	var name *net.DNSError
	switch {
	case errors.As(err, &certificate), errors.As(err, &key), errors.Is(err, errLogin), errors.Is(err, fs.ErrPermission):
		return false
	case errors.As(err, &name):
		return name.IsTemporary
	}
	return true
}
