package fleet

import "time"

// Spec is what a user asks for: the body of a deploy. A revision is one
// accepted spec. Decode it with DecodeSpec, which starts from DefaultSpec,
// refuses unknown fields and validates.
type Spec struct {
	Name        string            `json:"name"`                   // DNS label; unique in the fleet
	Image       string            `json:"image"`                  // any reference that docker pull takes
	Replicas    int               `json:"replicas"`               // 0 to MaxReplicas; 0 = deployed, nothing runs
	Ports       []Port            `json:"ports,omitempty"`        // published on the nodes
	Resources   Resources         `json:"resources,omitzero"`     // reservations and limits
	HealthCheck *HealthCheck      `json:"health_check,omitempty"` // nil = the image's HEALTHCHECK, else a dial of the port
	Env         map[string]Secret `json:"env,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"` // written on the app; traefik.* are honoured by the edge
	Route       *Route            `json:"route,omitempty"`  // nil and no traefik.* router labels = not public
	Sleep       Sleep             `json:"sleep,omitzero"`
	Wake        Wake              `json:"wake,omitzero"`
	Command     []string          `json:"command,omitempty"`    // empty = the image's CMD
	Entrypoint  []string          `json:"entrypoint,omitempty"` // empty = the image's ENTRYPOINT
	User        string            `json:"user,omitempty"`
	Workdir     string            `json:"workdir,omitempty"`
	StopSignal  string            `json:"stop_signal,omitempty"` // empty = the image's, else SIGTERM
	StopGrace   Duration          `json:"stop_grace,omitempty"`  // from the stop signal to SIGKILL
	Restart     RestartPolicy     `json:"restart,omitempty"`
	Pull        PullPolicy        `json:"pull,omitempty"`
	Networks    []string          `json:"networks,omitempty"` // empty = the fleet's own network
	Update      Update            `json:"update,omitzero"`
	Placement   Placement         `json:"placement,omitzero"`
	Volumes     []Volume          `json:"volumes,omitempty"` // of the nodes; kept until a remove asks for them too

	// Direct marks an instance of the direct-routing API: its app's container is
	// named exactly Name, a woken browser is redirected, and an exit is sleep.
	Direct bool `json:"direct,omitempty"`

	RestartLimit RestartLimit `json:"restart_limit,omitzero"` // when restarts are given up
}

// WithoutCredentials returns the spec as it may stand where others read it, such
// as on a container's label: without the values of the health check's headers.
// Env values need no care: they marshal as redacted, and are read from the container.
func (s Spec) WithoutCredentials() Spec {
	if s.HealthCheck != nil && s.HealthCheck.Headers != nil {
		check := *s.HealthCheck
		check.Headers = nil
		s.HealthCheck = &check
	}
	return s
}

// revealedSpec is a spec that is written with its secrets: the outer fields stand
// before the embedded ones, which read "redacted".
type revealedSpec struct {
	Spec
	HealthCheck *revealedCheck    `json:"health_check,omitempty"`
	Env         map[string]string `json:"env,omitempty"`
}

type revealedCheck struct {
	HealthCheck
	Headers map[string]string `json:"headers,omitempty"`
}

// Reveal returns what marshals as the spec with its secrets, the values of env and
// of the health check's headers: for the store, a client's deploy and an admin's
// explicit request.
func (s Spec) Reveal() any {
	revealed := revealedSpec{Spec: s, Env: RevealAll(s.Env)}
	if s.HealthCheck != nil {
		revealed.HealthCheck = &revealedCheck{*s.HealthCheck, RevealAll(s.HealthCheck.Headers)}
	}
	return revealed
}

// Port is a port of the app that one replica on each node publishes there.
type Port struct {
	ContainerPort int    `json:"container_port"`
	HostPort      int    `json:"host_port,omitempty"` // 0 = not published, only declared
	HostIP        string `json:"host_ip,omitempty"`   // empty = 0.0.0.0
	Protocol      string `json:"protocol,omitempty"`  // tcp (default) or udp
}

// Resources are reserved on the node and limit the app.
type Resources struct {
	CPUShares int `json:"cpu_shares,omitempty"` // 1024 = one CPU reserved; 0 = none
	MemoryMB  int `json:"memory_mb,omitempty"`  // MiB reserved, and the app's limit; 0 = none
}

// Route is the rule by which public traffic reaches the service.
type Route struct {
	Hosts       []string `json:"hosts,omitempty"`
	PathPrefix  string   `json:"path_prefix,omitempty"`  // /x matches /x and /x/…, never /x1
	StripPrefix bool     `json:"strip_prefix,omitempty"` // the app sees the path without PathPrefix
	Cookie      *Cookie  `json:"cookie,omitempty"`
	Port        int      `json:"port,omitempty"`     // 0 = the label's, else the only port, else the only EXPOSE
	Protocol    string   `json:"protocol,omitempty"` // http (default), https or h2c
	Failover    *bool    `json:"failover,omitempty"` // nil = true; false keeps trailers and the app's own 502/504
	TLS         bool     `json:"tls,omitempty"`      // a certificate by ACME, and http redirected to https
}

// Cookie is the cookie that a request must carry to match a route.
type Cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// FailoverEnabled says whether a request that the app failed is rescued by the fallback router.
func (r *Route) FailoverEnabled() bool {
	return r == nil || r.Failover == nil || *r.Failover
}

// Sleep says when and how deeply an idle service sleeps.
type Sleep struct {
	After Duration  `json:"after,omitempty"` // idle time; 0 = never by itself
	Mode  SleepMode `json:"mode,omitempty"`
}

// SleepMode is how deep a sleep is.
type SleepMode string

// The sleep modes, from the lightest.
const (
	SleepPause SleepMode = "pause" // dozing: the app is paused
	SleepStop  SleepMode = "stop"  // asleep: the app is stopped, its sandbox up
	SleepDeep  SleepMode = "deep"  // deep asleep: both stopped
)

// Wake says how a request to a sleeping service is answered.
type Wake struct {
	Answer  WakeAnswer `json:"answer,omitempty"`
	MaxWait Duration   `json:"max_wait,omitempty"` // then 504 with Retry-After
	Needs   []string   `json:"needs,omitempty"`    // services woken first
}

// WakeAnswer is what a client gets whose request woke a service.
type WakeAnswer string

// The wake answers.
const (
	AnswerAuto     WakeAnswer = "auto"     // hold
	AnswerHold     WakeAnswer = "hold"     // the same request is proxied when ready
	AnswerPage     WakeAnswer = "page"     // a browser sees a waiting page that reloads; others are held
	AnswerRedirect WakeAnswer = "redirect" // 307 to the same URL once the route is confirmed
)

// RestartPolicy says which exits of an app are mended by a restart.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure"
	RestartNever     RestartPolicy = "never"
)

// RestartLimit says how many restarts make a crash loop, which is given up until
// the next request or deploy.
type RestartLimit struct {
	Attempts int `json:"attempts,omitempty"` // 0 = DefaultRestartAttempts
	// Window is the time in which that many restarts are too many, whatever lies
	// between them. 0 = they are counted from the app's last RestartReset of being up.
	Window Duration `json:"window,omitempty"`
}

// Most returns how many restarts are not too many.
func (l RestartLimit) Most() int {
	if l.Attempts == 0 {
		return DefaultRestartAttempts
	}
	return l.Attempts
}

// PullPolicy says when an image is asked of its registry.
type PullPolicy string

// The pull policies. A tag latest is asked for even when the policy is missing,
// and a local image is used when the registry cannot be reached.
const (
	PullMissing PullPolicy = "missing"
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
)

// Update says how a changed service is rolled out.
type Update struct {
	Order UpdateOrder `json:"order,omitempty"`
}

// UpdateOrder is the order of a replica's replacement.
type UpdateOrder string

// The update orders.
const (
	StartFirst UpdateOrder = "start-first" // the new one serves before the old one goes
	StopFirst  UpdateOrder = "stop-first"  // for apps that may not run twice; requests are held
)

// Limits and defaults of a spec.
const (
	MaxReplicas = 1000
	MaxSpecSize = 1 << 20 // bytes of a deploy body

	DefaultRestartAttempts = 6
	RestartReset           = Duration(30 * time.Second) // up for this long, an app's restarts are counted anew

	DefaultStopGrace = Duration(10 * time.Second)
	DefaultMaxWait   = Duration(60 * time.Second)
)

// DefaultSpec returns what a deploy that says nothing asks for: every field
// that has a default holds it.
func DefaultSpec() Spec {
	return Spec{
		Replicas:  1,
		Sleep:     Sleep{Mode: SleepStop},
		Wake:      Wake{Answer: AnswerAuto, MaxWait: DefaultMaxWait},
		StopGrace: DefaultStopGrace,
		Restart:   RestartAlways,
		Pull:      PullMissing,
		Update:    Update{Order: StartFirst},
	}
}
