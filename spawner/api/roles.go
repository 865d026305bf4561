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
	Wake(ctx context.Context, name, by string) (fleet.Accepted, error)
	Sleep(ctx context.Context, name, by string) (fleet.Accepted, error)
}

// Remover takes services away, as one of Verbs.
type Remover interface {
	Remove(ctx context.Context, name, by string) (fleet.Accepted, error)
	// RemoveWithVolumes removes what the fleet has made of its volumes too, unless other services use them.
	RemoveWithVolumes(ctx context.Context, name, by string) (fleet.Accepted, error)
}

// Questions tell what is. An unknown name is NotFound.
type Questions interface {
	Services() []fleet.Service
	Service(name string) (fleet.ServiceDetail, error)
	Revisions(ctx context.Context, name string) ([]fleet.Revision, error)
	Why(name string) (fleet.Why, error)
	Nodes(ctx context.Context) ([]fleet.Node, error)
	// Ready is nil once requests can be answered; else what is waited for. The note
	// says why nothing is changed at present; empty = all is done that is to be done.
	Ready() (note string, err error)
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
	// FollowEvents sends what f asks for of the past and then what happens; who
	// goes on after from, or after the last id seen, misses nothing. The channel
	// is closed when ctx ends, or when no more can be told.
	FollowEvents(ctx context.Context, f fleet.EventFilter) (from int64, events <-chan fleet.Event, err error)
	// Record stores an event; it never waits.
	Record(event fleet.Event)
}

// Edges tells which edges there are and what each has confirmed.
type Edges interface {
	Edges() []fleet.Edge
}

// Balancer knows where replicas stand and where they would stand better.
type Balancer interface {
	// Rebalance plans moves and, unless only the plan is asked for, has them
	// made. Conflict when the plan that is consented to is another by now.
	Rebalance(ctx context.Context, question fleet.Rebalance, by string) (fleet.RebalancePlan, error)
	// WhatIf is Invalid, with the field, for a node or a service that there is not.
	WhatIf(ctx context.Context, question fleet.WhatIf) (fleet.WhatIfAnswer, error)
}

// Nodes are the engines, which come and go. An unknown name is NotFound.
type Nodes interface {
	// AddNode makes an engine a node; an error names the field that is wrong, and nothing has changed.
	AddNode(ctx context.Context, spec fleet.NodeSpec, by string) (fleet.Node, error)
	// RemoveNode is Conflict while replicas are there, unless force.
	RemoveNode(ctx context.Context, name string, force bool, by string) error
	DrainNode(ctx context.Context, name, by string) error
	// UsageOfNode measures what is used there; Unavailable when it does not answer.
	UsageOfNode(ctx context.Context, name string) (fleet.Resources, error)
	ResumeNode(ctx context.Context, name, by string) error
}

// Tokens is the store of tokens. Add is Conflict for a name that is taken, Remove NotFound for an unknown one.
type Tokens interface {
	Add(ctx context.Context, token fleet.StoredToken) error
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]fleet.StoredToken, error)
}

// Webhooks are the receivers of events. Errors are *fleet.Error.
type Webhooks interface {
	// Add checks and makes a webhook; the answer alone holds its secret. Conflict for a name that is taken.
	Add(ctx context.Context, hook fleet.Webhook) (fleet.Webhook, error)
	// Remove is NotFound for an unknown name, as is Test.
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]fleet.Webhook, error)
	// Test sends one message, once; BadGateway when it is not taken.
	Test(ctx context.Context, name, by string) (fleet.WebhookTest, error)
}

// Authority says who calls and whether they may.
type Authority interface {
	// Authorize returns the caller's name; Unauthorized without a good
	// credential, Forbidden when it does not include scope, Busy while logins are slowed.
	Authorize(r *http.Request, scope fleet.Scope) (by string, err error)
}
