package proxyhook

import (
	"fmt"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/vulcand/oxy/v2/buffer"
	"github.com/vulcand/oxy/v2/cbreaker"
)

// checkBreaker says whether the edge can read a circuit breaker's expression.
func checkBreaker(expression string) (err error) {
	defer recovered(&err)
	_, err = cbreaker.New(http.NotFoundHandler(), expression)
	return err
}

// checkBuffering says whether the edge can make a buffering middleware of these settings.
func checkBuffering(b *dynamic.Buffering) (err error) {
	defer recovered(&err)
	_, err = buffer.New(http.NotFoundHandler(),
		buffer.MemRequestBodyBytes(b.MemRequestBodyBytes), buffer.MaxRequestBodyBytes(b.MaxRequestBodyBytes),
		buffer.MemResponseBodyBytes(b.MemResponseBodyBytes), buffer.MaxResponseBodyBytes(b.MaxResponseBodyBytes),
		buffer.Cond(b.RetryExpression != "", buffer.Retry(b.RetryExpression)))
	return err
}

// recovered makes an error of a panic in a parser of strangers' text.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("cannot parse it: %v", r)
	}
}
