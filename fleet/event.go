package fleet

import (
	"slices"
	"strings"
	"time"
)

// EventType is what happened, in one word.
type EventType string

// The types of event. EventTypes lists them.
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
	EventDrift        EventType = "drift"         // a container is not what was deployed: somebody changed it
	EventFailed       EventType = "failed"        // given up until the next request or deploy
	EventRouteMissing EventType = "route_missing" // the catch-all saw a request that a confirmed route should have taken
	EventEdge         EventType = "edge"          // seen, lost, refused a document
	EventCertificate  EventType = "certificate"
	EventAccess       EventType = "access" // a login refused, a token made or removed
	EventNode         EventType = "node"
	EventWarning      EventType = "warning"
	EventBackup       EventType = "backup"  // the database saved or restored
	EventSpawner      EventType = "spawner" // began, ends
	EventWebhook      EventType = "webhook" // one made or removed, its receiver away or back
	// EventGap is never stored: a stream tells by it that events are no longer
	// kept which its reader has not seen. Its id is that of the last of them.
	EventGap EventType = "gap"
)

// EventTypes returns the types of events that are stored.
func EventTypes() []EventType {
	return []EventType{
		EventDeploy, EventScale, EventRemove, EventRestart, EventWake, EventSleep, EventStep,
		EventExit, EventHealth, EventDrift, EventFailed, EventRouteMissing, EventEdge, EventCertificate,
		EventAccess, EventNode, EventWarning, EventBackup, EventSpawner, EventWebhook,
	}
}

// EventTypeList returns them as a person reads them.
func EventTypeList() string {
	words := make([]string, len(EventTypes()))
	for i, one := range EventTypes() {
		words[i] = string(one)
	}
	return strings.Join(words, ", ")
}

// Event is one recorded fact.
type Event struct {
	ID        int64     `json:"id"` // ascending; what ?after= takes
	Timestamp time.Time `json:"timestamp"`
	Type      EventType `json:"type"`
	Service   string    `json:"service"`
	Container string    `json:"container"` // the replica's name; empty = the service as a whole
	NodeID    string    `json:"node_id"`
	Message   string    `json:"message"`
	By        string    `json:"by"` // the token or account that asked for it; empty = nobody did
}

// EventFilter selects events. Zero fields select all.
type EventFilter struct {
	Service   string
	Container string // the replica's name
	Node      string
	By        string
	Types     []EventType // any of them
	Since     time.Time   // from then on
	Until     time.Time   // before then
	// After selects events with a greater ID, ascending from there; negative =
	// ascending from the first. 0 = the newest ones, in ascending order.
	After  int64
	Before int64 // only events with a smaller ID; 0 = all
	Limit  int   // 0 = 100
}

// Selects says whether an event is one of those, whatever Limit says.
func (f EventFilter) Selects(e Event) bool {
	return (f.Service == "" || f.Service == e.Service) &&
		(f.Container == "" || f.Container == e.Container) &&
		(f.Node == "" || f.Node == e.NodeID) &&
		(f.By == "" || f.By == e.By) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		!e.Timestamp.Before(f.Since) && (f.Until.IsZero() || e.Timestamp.Before(f.Until)) &&
		e.ID > f.After && (f.Before == 0 || e.ID < f.Before)
}
