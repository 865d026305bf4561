package fleet

import (
	"fmt"
	"time"
)

// Status is the state of a service, as people read it.
type Status string

// The statuses of a service.
const (
	StatusDeploying Status = "deploying"
	StatusRunning   Status = "running"
	StatusDegraded  Status = "degraded" // awake with fewer ready replicas than wanted
	StatusWaking    Status = "waking"
	StatusSleeping  Status = "sleeping" // falling asleep: route off, draining
	StatusDozing    Status = "dozing"   // paused
	StatusAsleep    Status = "asleep"
	StatusStopped   Status = "stopped" // no replica wanted, or ended and not to be restarted
	StatusFailed    Status = "failed"
	StatusRemoving  Status = "removing"
)

// Health is the judgement of the health checks.
type Health string

// The healths of a replica, and of a service: the worst of its ready ones.
const (
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
	Starting  Health = "starting"
	Unknown   Health = "unknown"
)

// Service is one service as the API lists it.
type Service struct {
	Name       string             `json:"name"`
	Image      string             `json:"image"`
	Replicas   int                `json:"replicas"` // wanted
	Status     Status             `json:"status"`
	Health     Health             `json:"health"`
	Containers []ServiceContainer `json:"containers"`
}

// ServiceContainer is the app of one replica as the API lists it.
type ServiceContainer struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`   // <service>-<index>
	Status ContainerStatus `json:"status"` // Docker's own word
	Health Health          `json:"health"`
	NodeID string          `json:"node_id"`
}

// Ready counts the replicas that are known to serve.
func (s Service) Ready() int {
	ready := 0
	for _, c := range s.Containers {
		if c.Status == ContainerRunning && c.Health == Healthy {
			ready++
		}
	}
	return ready
}

// ServiceDetail is one service with all that is known of it.
type ServiceDetail struct {
	Service
	Revision  int             `json:"revision"`         // in service; 0 = none has succeeded yet
	Spec      Spec            `json:"spec"`             // of that revision, or of the newest if none
	URLs      []string        `json:"urls,omitempty"`   // where clients reach it
	Reason    string          `json:"reason,omitempty"` // why it failed or is degraded
	JobID     string          `json:"job_id,omitempty"` // the job that runs or waits
	Detail    []ReplicaDetail `json:"replica_details"`
	CreatedAt time.Time       `json:"created_at"`
	ChangedAt time.Time       `json:"changed_at"`
}

// ReplicaDetail is one replica with all that is known of it.
type ReplicaDetail struct {
	Name      string `json:"name"`
	Revision  int    `json:"revision"`
	NodeID    string `json:"node_id"`
	Address   string `json:"address,omitempty"` // where the edges reach it; with the port where its node publishes one for them
	SandboxID string `json:"sandbox_id,omitempty"`
	Published []Port `json:"published,omitempty"` // ports of its node that this replica holds; host_ip: for the edges alone
	Restarts  int    `json:"restarts,omitempty"`  // since it was last healthy for long
	LastExit  string `json:"last_exit,omitempty"`
	// Drift is what tells its app's container from what was deployed, such as
	// another image; never a value of env.
	Drift []string `json:"drift,omitempty"`
}

// Revision is one accepted spec.
type Revision struct {
	Service     string    `json:"service"`
	Number      int       `json:"revision"` // from 1
	Spec        Spec      `json:"spec"`
	By          string    `json:"by"` // the token or account that asked
	CreatedAt   time.Time `json:"created_at"`
	ImageID     string    `json:"image_id,omitempty"`     // what it resolved to; empty until pulled
	ImageDigest string    `json:"image_digest,omitempty"` // of its registry; empty for a local image
	Outcome     Outcome   `json:"outcome"`
}

// Outcome says how the rollout of a revision ended.
type Outcome string

// The outcomes of a revision.
const (
	OutcomePending   Outcome = "pending"
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeCanceled  Outcome = "canceled"
)

// Power is the desired state of a service: awake, or how deep it sleeps.
type Power string

// The desired powers.
const (
	PowerAwake   Power = "awake"
	PowerDozing  Power = "dozing"
	PowerAsleep  Power = "asleep"
	PowerDeep    Power = "deep"
	PowerStopped Power = "stopped" // ended by itself and not to be restarted, or failed
)

// Desired is what the store keeps of a service.
type Desired struct {
	Name      string
	Revision  int // in service; 0 = none has succeeded yet
	Replicas  int // wanted; a scale changes it without a revision
	Power     Power
	Removing  bool // a remove was accepted
	CreatedAt time.Time
	ChangedAt time.Time
}

// ReplicaName returns the name of a replica: <service>-<index>.
func ReplicaName(service string, index int) string { return fmt.Sprintf("%s-%d", service, index) }
