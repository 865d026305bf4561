package fleet

import (
	"net/netip"
	"time"
)

// The labels on everything that the spawner makes. What carries LabelFleet with
// this installation's id is ours; anything else is never touched.
const (
	LabelOrigin   = "origin"            // OriginSpawner
	LabelFleet    = "spawner.fleet"     // the installation's id
	LabelService  = "spawner.service"   // sandbox, app
	LabelRevision = "spawner.revision"  // sandbox, app: decimal
	LabelIndex    = "spawner.index"     // sandbox, app: decimal
	LabelRole     = "spawner.role"      // a Role
	LabelSpec     = "spawner.spec"      // app: the spec as JSON, without env values
	LabelSpecHash = "spawner.spec-hash" // sandbox, app: what a plan compares to tell right from outdated
	LabelJob      = "spawner.job"       // sandbox, app: id of the job that made it; none = a repair did

	OriginSpawner = "spawner"
)

// Role is what a container is for.
type Role string

// The roles. Edges and spawners are others' containers (of the compose file)
// that the spawner finds by this label and connects to its networks.
const (
	RoleSandbox Role = "sandbox"
	RoleApp     Role = "app"
	RoleLease   Role = "lease"
	RoleEdge    Role = "edge"
	RoleSpawner Role = "spawner"
)

// ContainerStatus is Docker's own word for a container's state.
type ContainerStatus string

// Docker's words; ContainerMissing is ours for a container that is not there.
const (
	ContainerCreated    ContainerStatus = "created"
	ContainerRunning    ContainerStatus = "running"
	ContainerPaused     ContainerStatus = "paused"
	ContainerRestarting ContainerStatus = "restarting"
	ContainerRemoving   ContainerStatus = "removing"
	ContainerExited     ContainerStatus = "exited"
	ContainerDead       ContainerStatus = "dead"
	ContainerMissing    ContainerStatus = "missing"
)

// Container is a container as an engine reports it.
type Container struct {
	ID        string
	Name      string // without the leading slash
	Node      string
	Image     string // as asked for at create
	ImageID   string
	Labels    map[string]string
	Status    ContainerStatus
	Health    Health // of Docker's HEALTHCHECK; Unknown without one
	PID       int    // 0 unless running
	ExitCode  int
	OOMKilled bool
	Error     string // of the last failed start
	CreatedAt time.Time
	// StartedAt and FinishedAt are zero when it never did; a list leaves both zero, Inspect sets them.
	StartedAt  time.Time
	FinishedAt time.Time
	SandboxID  string                // apps: the container whose network it joined
	Addresses  map[string]netip.Addr // by network name; those of a stopped container are absent
	Ports      []Port                // published
	Env        map[string]Secret     // Inspect only
	MemoryMB   int                   // MiB, its limit; 0 = none; Inspect only
	CPUShares  int                   // 0 = the engine's default; Inspect only
	MilliCPUs  int                   // of CPUs, its limit: 1500 = one and a half; 0 = none; Inspect only
	// RestartPolicy is the engine's own; empty and "no" = none. Inspect only.
	RestartPolicy string
}

// ContainerConfig is a container to be created.
type ContainerConfig struct {
	Name       string
	Image      string // reference or id; it must be on the node
	Labels     map[string]string
	Env        map[string]Secret
	Entrypoint []string
	Command    []string
	User       string
	Workdir    string
	StopSignal string
	Restart    string // Docker's own policy: "no" or "always"

	Volumes []Volume // those that are not there are made, with the fleet's labels

	SandboxID string // apps: join this container's network; everything down to Ports is then empty
	Hostname  string
	Networks  []Attachment // the first is the one that the default route goes through
	Ports     []Port       // published; HostPort 0 entries are ignored

	CPUShares int // 1024 = one CPU; 0 = unset
	MemoryMB  int // MiB, a hard limit; 0 = unlimited
}

// Attachment connects a container to a network.
type Attachment struct {
	Network string
	Address netip.Addr // fixed; zero = the engine chooses
	Aliases []string
}

// Image is an image that is on a node.
type Image struct {
	Ref        string
	ID         string // sha256:…
	Digest     string // of its registry, repo@sha256:…; empty for a local image
	Platform   string // such as linux/amd64
	Ports      []int  // EXPOSEd tcp ports, ascending
	Check      *ImageCheck
	Entrypoint []string
	Command    []string
	Labels     map[string]string
}

// Stock is what a node keeps beside containers.
type Stock struct {
	Images  []string // references
	Volumes []string // names
	// Ports are those of the node that running containers hold which are of no
	// service of this fleet.
	Ports []HeldPort
	// Fleets are the ids of other fleets that have containers running there, sorted.
	Fleets []string
}

// HeldPort is a port of a node with who holds it.
type HeldPort struct {
	Port
	Holder string // in words, such as "container web"; empty = not known
}

// ImageCheck is an image's HEALTHCHECK.
type ImageCheck struct {
	Command     []string // ready to exec; a CMD-SHELL is wrapped in /bin/sh -c
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

// Network is a network of an engine.
type Network struct {
	ID      string
	Name    string
	Driver  string
	Labels  map[string]string
	Subnet  netip.Prefix // IPv4; zero = none
	IPRange netip.Prefix // what the engine gives to strangers; zero = the whole subnet
	Gateway netip.Addr
	// Containers are the ids of the running containers on it.
	Containers []string
}

// NetworkConfig is a network to be created.
type NetworkConfig struct {
	Name     string
	Driver   string // bridge or overlay
	Labels   map[string]string
	Subnet   netip.Prefix // zero = the engine chooses, and then no address is fixed
	IPRange  netip.Prefix
	Internal bool
}

// Notice is what a watcher of an engine tells: the state of its stream, or one
// thing that happened to a container of this fleet.
type Notice struct {
	Node   string
	Action NoticeAction
	Time   time.Time
	ID     string            // container
	Labels map[string]string // of the container
	Exit   int               // NoticeDied
	Health Health            // NoticeHealth
	Err    error             // NoticeLost
}

// NoticeAction is the kind of a notice.
type NoticeAction string

// The kinds of notice.
const (
	NoticeConnected NoticeAction = "connected" // the stream stands: list now, nothing before it will be told
	NoticeLost      NoticeAction = "lost"      // the stream broke; the watcher connects again by itself
	NoticeStarted   NoticeAction = "started"
	NoticeDied      NoticeAction = "died"
	NoticePaused    NoticeAction = "paused"
	NoticeUnpaused  NoticeAction = "unpaused"
	NoticeRemoved   NoticeAction = "removed"
	NoticeHealth    NoticeAction = "health"
	NoticeOOM       NoticeAction = "oom"
	NoticeUpdated   NoticeAction = "updated" // its limits or its name were changed
	NoticeKilled    NoticeAction = "killed"  // a signal that ends it was sent, by a stop or by hand
)

// ExecResult is how a command inside a container ended.
type ExecResult struct {
	ExitCode int
	Output   []byte // standard output and error, the first 64 KiB
}

// LogOptions selects lines of logs.
type LogOptions struct {
	Tail       int       // lines from the end; negative = all
	Since      time.Time // zero = from the beginning
	Follow     bool
	Timestamps bool
	Replica    string // one replica only; empty = all
}

// LogLine is one line of a replica's output.
type LogLine struct {
	Time    time.Time `json:"time"`
	Replica string    `json:"replica"`
	Stream  string    `json:"stream"` // stdout, stderr, or StreamSpawner
	Text    string    `json:"text"`   // without the line break
}

// StreamSpawner is the stream of a line by which the spawner says that a
// replica's logs cannot be read.
const StreamSpawner = "spawner"

// Connection is an established TCP connection inside a replica's network, as
// the sandbox's conns lists it.
type Connection struct {
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote"`
	LastRecv Duration       `json:"last_recv"` // since data last came in
	Inbound  bool           `json:"inbound"`   // to a port that is listened on
	BytesIn  uint64         `json:"bytes_in"`
	BytesOut uint64         `json:"bytes_out"`
}

// Standing is a replica where it stands, as the store keeps it: for a start at
// which its node does not answer.
type Standing struct {
	Service     string
	Index       int
	Revision    int
	Hash        string // of what it was made from
	Node        string
	AppID       string
	AppName     string
	SandboxID   string
	SandboxName string
	Address     netip.Addr  // where edges reach it
	Published   map[int]int // ports of the node by those of the app; nil = it is reached at its own
	HostPorts   bool        // its sandbox holds the service's host ports
}
