package fleet

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in a word that programs can compare.
type Kind string

// The kinds of error that a person sees. Any other error is logged and
// answered as internal.
const (
	Invalid      Kind = "invalid"
	Unauthorized Kind = "unauthorized"
	Forbidden    Kind = "forbidden"
	NotFound     Kind = "not_found"
	Conflict     Kind = "conflict"
	TooLarge     Kind = "too_large"
	Busy         Kind = "busy"
	Unavailable  Kind = "unavailable"
	Internal     Kind = "internal"

	// Timeout is an answer of the public router alone; BadGateway is that of the
	// private API too, where a webhook's test was not taken.
	Timeout    Kind = "timeout"
	BadGateway Kind = "bad_gateway"
)

// statuses maps kinds to HTTP status codes, both ways: the one table.
var statuses = map[Kind]int{
	Invalid: 400, Unauthorized: 401, Forbidden: 403, NotFound: 404, Conflict: 409,
	TooLarge: 413, Busy: 429, Unavailable: 503, Internal: 500, Timeout: 504, BadGateway: 502,
}

// HTTPStatus returns the status code of a kind; 500 for an unknown one.
func (k Kind) HTTPStatus() int {
	if status, ok := statuses[k]; ok {
		return status
	}
	return 500
}

// KindOfHTTPStatus is the reverse of HTTPStatus; Internal for an unknown status.
func KindOfHTTPStatus(status int) Kind {
	for kind, code := range statuses {
		if code == status {
			return kind
		}
	}
	return Internal
}

// Error is an error that a person sees.
type Error struct {
	Kind       Kind          `json:"kind"`
	Message    string        `json:"message"`
	Field      string        `json:"field,omitempty"` // the field of the request that is wrong
	RetryAfter time.Duration `json:"-"`               // 0 = say nothing
}

func (e *Error) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Message
	}
	return e.Message
}

// RetryAfterSeconds is the value of the header Retry-After, rounded up; 0 = say nothing.
func (e *Error) RetryAfterSeconds() int {
	return int((e.RetryAfter + time.Second - 1) / time.Second)
}

// Errorf makes an error of a kind.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// About makes it an error about a field.
func (e *Error) About(field string) *Error {
	e.Field = field
	return e
}

// InvalidField makes an error about one field: what is wrong and what is allowed.
func InvalidField(field, format string, args ...any) *Error {
	return Errorf(Invalid, format, args...).About(field)
}

// KindOf returns the kind of err: that of the Error it wraps, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
