package proxyhook

import (
	"fmt"
	"net/http"

	"github.com/vulcand/oxy/v2/buffer"
	"github.com/vulcand/oxy/v2/cbreaker"
)

// checkBreaker says whether the edge can read a circuit breaker's expression.
func checkBreaker(expression string) (err error) {
	defer recovered(&err)
	_, err = cbreaker.New(http.NotFoundHandler(), expression)
	return err
}

// checkRetryExpression says whether the edge can read the retry expression of a buffering middleware.
func checkRetryExpression(expression string) (err error) {
	defer recovered(&err)
	_, err = buffer.New(http.NotFoundHandler(), buffer.Retry(expression))
	return err
}

// recovered makes an error of a panic in a parser of strangers' text.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("cannot parse it: %v", r)
	}
}
