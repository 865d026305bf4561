package access

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"edgespawner/fleet"
)

const (
	// mostReports are told at once; then one in reportEvery, so that an attacker
	// cannot fill the record of events.
	mostReports = 20
	reportEvery = 10 * time.Second
	// tokenEvery is how often a refused token is told of: a program that holds a
	// wrong one, such as an edge, may call a hundred times a second.
	tokenEvery = 10 * time.Minute
)

// reports tells of refused logins.
type reports struct {
	tell func(fleet.Event) // nil = nobody; called without the lock

	mu     sync.Mutex
	left   int       // that may be told now
	filled time.Time // when left was last raised
	silent int       // not told since the last one that was

	tokenTold   time.Time // when a refused token was last told of
	tokenSilent int       // refused and not told since
}

func newReports(tell func(fleet.Event)) *reports {
	return &reports{tell: tell, left: mostReports, filled: time.Now()}
}

// loginRefused tells of a wrong password. The name is that of the account, empty
// if there is none: what was typed may be a password in the wrong field.
func (r *reports) loginRefused(name string, from netip.Addr) {
	if r.tell == nil {
		return
	}
	silent, ok := r.admit()
	if !ok {
		return
	}
	who := "an unknown account"
	if name != "" {
		who = fmt.Sprintf("account %q", name)
	}
	address := "an unknown address"
	if from.IsValid() {
		address = from.String()
	}
	message := fmt.Sprintf("login of %s from %s refused", who, address)
	if silent > 0 {
		message += fmt.Sprintf(" (and %d more before it)", silent)
	}
	r.tell(fleet.Event{Timestamp: time.Now().UTC(), Type: fleet.EventAccess, Message: message})
}

// tokenRefused tells of a token that is not known or has expired; what it was is told to nobody.
func (r *reports) tokenRefused(from netip.Addr) {
	if r.tell == nil {
		return
	}
	r.mu.Lock()
	now := time.Now()
	if !r.tokenTold.IsZero() && now.Sub(r.tokenTold) < tokenEvery {
		r.tokenSilent++
		r.mu.Unlock()
		return
	}
	silent := r.tokenSilent
	r.tokenTold, r.tokenSilent = now, 0
	r.mu.Unlock()
	address := "an unknown address"
	if from.IsValid() {
		address = from.String()
	}
	message := fmt.Sprintf("a token that is not known or has expired, from %s, refused", address)
	if silent > 0 {
		message += fmt.Sprintf(" (and %d more before it)", silent)
	}
	r.tell(fleet.Event{Timestamp: now.UTC(), Type: fleet.EventAccess, Message: message})
}

// warn tells of something that an operator should mend.
func (r *reports) warn(message string) {
	if r.tell != nil {
		r.tell(fleet.Event{Timestamp: time.Now().UTC(), Type: fleet.EventWarning, Message: message})
	}
}

// admit says whether one more may be told, and how many were not told before it.
func (r *reports) admit() (silent int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if more := int(now.Sub(r.filled) / reportEvery); more > 0 {
		r.left = min(r.left+more, mostReports)
		r.filled = r.filled.Add(time.Duration(more) * reportEvery)
	}
	if r.left == 0 {
		r.silent++
		return 0, false
	}
	r.left--
	silent, r.silent = r.silent, 0
	return silent, true
}
