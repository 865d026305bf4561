package api

import (
	"context"
	"net/http"

	"edgespawner/fleet"
)

// Deployer takes specs. Errors are *fleet.Error, several joined; anything else
// is answered as internal.
type Deployer interface {
	Deploy(ctx context.Context, spec fleet.Spec, by string, force bool) (fleet.Accepted, error)
	// Plan says what Deploy would do, and changes nothing.
	Plan(ctx context.Context, spec fleet.Spec, force bool) (fleet.Plan, error)
	// Spec returns the newest accepted spec of a service, secrets included; NotFound when there is none.
	Spec(ctx context.Context, name string) (fleet.Spec, error)
}

// Verbs change services that exist; each is NotFound for an unknown name and
// Busy or Conflict when it cannot be taken now.
type Verbs interface {
	Scale(ctx context.Context, name string, replicas int, by string) (fleet.Accepted, error)
	Restart(ctx context.Context, name, by string) (fleet.Accepted, error)
	// Rollback takes revision 0 as the newest that succeeded before the one in service.
	Rollback(ctx context.Context, name string, revision int, by string) (fleet.Accepted, error)
	Remove(ctx context.Context, name, by string) (fleet.Accepted, error)
	Wake(ctx context.Context, name, by string) (fleet.Accepted, error)
	Sleep(ctx context.Context, name, by string) (fleet.Accepted, error)
}

// Questions tell what is. An unknown name is NotFound.
type Questions interface {
	Services() []fleet.Service
	Service(name string) (fleet.ServiceDetail, error)
	Revisions(ctx context.Context, name string) ([]fleet.Revision, error)
	Why(name string) (fleet.Why, error)
	Nodes(ctx context.Context) ([]fleet.Node, error)
	// Ready is nil once requests can be answered; else what is waited for.
	Ready() error
}

// Jobs tell of accepted work. An unknown id is NotFound.
type Jobs interface {
	Jobs(ctx context.Context, service string, limit int) ([]fleet.Job, error)
	Job(ctx context.Context, id string) (fleet.Job, error)
	// WaitJob returns at the job's end, or when ctx ends with ctx's error and the job as it is.
	WaitJob(ctx context.Context, id string) (fleet.Job, error)
	CancelJob(ctx context.Context, id, by string) (fleet.Job, error)
}

// Records tell what was.
type Records interface {
	// Logs calls line for each line in time order; an error of line ends it and is returned.
	Logs(ctx context.Context, name string, o fleet.LogOptions, line func(fleet.LogLine) error) error
	Events(ctx context.Context, f fleet.EventFilter) ([]fleet.Event, error)
	// FollowEvents sends what f selects and then what happens; the channel is
	// closed when ctx ends or its reader is too slow.
	FollowEvents(ctx context.Context, f fleet.EventFilter) <-chan fleet.Event
}

// Edges tells which edges there are and what each has confirmed.
type Edges interface {
	Edges() []fleet.Edge
}

// Tokens is the store of tokens. Add is Conflict for a name that is taken, Remove NotFound for an unknown one.
type Tokens interface {
	Add(ctx context.Context, token fleet.StoredToken) error
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]fleet.StoredToken, error)
}

// Authority says who calls and whether they may.
type Authority interface {
	// Authorize returns the caller's name; Unauthorized without a good
	// credential, Forbidden when it does not include scope, Busy while logins are slowed.
	Authorize(r *http.Request, scope fleet.Scope) (by string, err error)
}
