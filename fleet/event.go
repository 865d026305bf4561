package fleet

import "time"

// EventType is what happened, in one word.
type EventType string

// The types of event.
const (
	EventDeploy       EventType = "deploy" // accepted, ended, failed
	EventScale        EventType = "scale"
	EventRemove       EventType = "remove"
	EventRestart      EventType = "restart"
	EventWake         EventType = "wake"
	EventSleep        EventType = "sleep"
	EventStep         EventType = "step" // a step of a job
	EventExit         EventType = "exit" // an app ended
	EventHealth       EventType = "health"
	EventFailed       EventType = "failed"        // given up until the next request or deploy
	EventRouteMissing EventType = "route_missing" // the catch-all saw a request that a confirmed route should have taken
	EventEdge         EventType = "edge"          // seen, lost, refused a document
	EventCertificate  EventType = "certificate"
	EventAccess       EventType = "access" // a login refused
	EventNode         EventType = "node"
	EventWarning      EventType = "warning"
)

// Event is one recorded fact.
type Event struct {
	ID        int64     `json:"id"` // ascending; what ?after= takes
	Timestamp time.Time `json:"timestamp"`
	Type      EventType `json:"type"`
	Service   string    `json:"service"`
	Container string    `json:"container"` // the replica's name; empty = the service as a whole
	NodeID    string    `json:"node_id"`
	Message   string    `json:"message"`
}

// EventFilter selects events. Zero fields select all.
type EventFilter struct {
	Service string
	Type    EventType
	Since   time.Time
	After   int64 // only events with a greater ID
	Limit   int   // 0 = 100; with After 0 the newest ones, in ascending order
}
