package fleet

import "time"

// JobKind is the verb that a job carries out.
type JobKind string

// The kinds of job.
const (
	JobDeploy    JobKind = "deploy"
	JobScale     JobKind = "scale"
	JobRestart   JobKind = "restart"
	JobRollback  JobKind = "rollback"
	JobRemove    JobKind = "remove"
	JobWake      JobKind = "wake"
	JobSleep     JobKind = "sleep"
	JobMove      JobKind = "move"      // replicas of a service to other nodes
	JobDrain     JobKind = "drain"     // everything off a node; no service
	JobRebalance JobKind = "rebalance" // some replicas of some services; no service
)

// Subject is what the job is about, in words: its service, or its node.
func (j Job) Subject() string {
	switch {
	case j.Service != "":
		return j.Service
	case j.Node != "":
		return "node " + j.Node
	}
	return "the nodes"
}

// JobState is the state of a job.
type JobState string

// The states of a job; the last three are end states.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobFailed    JobState = "failed"
	JobCanceled  JobState = "canceled"
)

// Ended says whether a job in this state will not change any more.
func (s JobState) Ended() bool { return s == JobSucceeded || s == JobFailed || s == JobCanceled }

// Job is one accepted unit of asynchronous work.
type Job struct {
	ID        string    `json:"id"`
	Kind      JobKind   `json:"kind"`
	Service   string    `json:"service"`
	Revision  int       `json:"revision,omitempty"` // deploy, rollback: the one rolled out
	Replicas  int       `json:"replicas,omitempty"` // scale: the number wanted
	Force     bool      `json:"force,omitempty"`    // deploy: replace even what is right; remove: its volumes too
	Node      string    `json:"node,omitempty"`     // drain, and the moves that it makes: what is to be left
	Moves     []Move    `json:"moves,omitempty"`    // rebalance, and the moves that it makes
	State     JobState  `json:"state"`
	Steps     []Step    `json:"steps"`
	Error     string    `json:"error,omitempty"`
	Warnings  []string  `json:"warnings,omitempty"` // what succeeded with a but
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Step is one step of a job.
type Step struct {
	Verb      string    `json:"verb"`              // place pull create start probe publish confirm certify drain stop remove …
	Replica   string    `json:"replica,omitempty"` // empty = the service as a whole
	State     JobState  `json:"state"`
	Detail    string    `json:"detail,omitempty"`
	Attempts  int       `json:"attempts,omitempty"` // begun so far, where the first one failed
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Accepted is the answer to a verb that became a job.
type Accepted struct {
	Service   string `json:"service"`
	Revision  int    `json:"revision,omitempty"`
	JobID     string `json:"job_id,omitempty"`    // empty = nothing had to be done
	Unchanged bool   `json:"unchanged,omitempty"` // deploy: the spec and the image were in service already
}
