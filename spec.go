package epu

import "time"

// Var is one variable of a launch: a literal, or a reference to a secret that is read where it is
// needed and never stored, logged or shown.
type Var struct {
	Value  string `json:"value,omitempty"`
	From   string `json:"from,omitempty"` // "env:NAME" or "file:PATH"; empty for a literal
	Secret bool   `json:"secret,omitempty"`
}

// Count is "N per window", such as 50 launches per minute. A zero Window means no limit.
type Count struct {
	N      int           `json:"n"`
	Window time.Duration `json:"window"`
}

// PoolSpec is a pool as its file defines it, with defaults filled in.
type PoolSpec struct {
	Name           PoolID                `json:"name"`
	Owner          Owner                 `json:"owner"`
	Description    string                `json:"description,omitempty"`
	DeployableType string                `json:"deployable_type"`
	Vars           map[string]Var        `json:"vars,omitempty"`
	Tick           time.Duration         `json:"tick"` // policy period; default 5 s, at least 100 ms
	Policy         PolicySpec            `json:"policy"`
	Placement      []Placement           `json:"placement"` // in order: the next one when the one before can't
	Health         HealthSpec            `json:"health"`
	Drain          DrainSpec             `json:"drain"`
	Limits         Limits                `json:"limits"`
	Sensors        map[string]SensorSpec `json:"sensors,omitempty"` // by the name that the policy reads
	Work           WorkSpec              `json:"work,omitzero"`
	Hooks          HooksSpec             `json:"hooks,omitzero"`
	Protected      bool                  `json:"protect_from_terminate_all,omitempty"`
	Origins        map[string]string     `json:"origins,omitempty"` // key -> file:line, for explanations
}

// PolicySpec says which decision engine runs a pool, and with what.
type PolicySpec struct {
	Name    string         `json:"name"`              // file in the policy folder without .lua; default npreserving
	Version string         `json:"version,omitempty"` // pin: the hash or its first digits; empty = the newest accepted one
	Conf    map[string]any `json:"conf,omitempty"`
}

// Placement is one place where a pool's workers may be launched.
type Placement struct {
	Site       SiteID     `json:"site"`
	Allocation Allocation `json:"allocation,omitempty"`
	Market     Market     `json:"market,omitempty"`
	Max        int        `json:"max,omitempty"` // workers of this pool there; 0 = no limit of its own
}

// HealthSource says how a worker's health is known.
type HealthSource string

// The health sources.
const (
	HealthAgent   HealthSource = "agent"   // heartbeats of epu-agent
	HealthProcess HealthSource = "process" // the site says whether the machine or process lives
	HealthNone    HealthSource = "none"    // only a machine that is gone is replaced
)

// HealthSpec holds a pool's health thresholds. All are positive.
type HealthSpec struct {
	Source         HealthSource  `json:"source"`          // default agent
	Heartbeat      time.Duration `json:"heartbeat"`       // period given to the agent; default 10 s
	BootGrace      time.Duration `json:"boot_grace"`      // RUNNING to first heartbeat; default 5 min
	MissingAfter   time.Duration `json:"missing_after"`   // silence until OUT_OF_CONTACT; default 2 min
	SecondChance   time.Duration `json:"second_chance"`   // then until MISSING; default 15 s
	ZombieAfter    time.Duration `json:"zombie_after"`    // beats this long after its end make a ZOMBIE; default 2 min
	LaunchDeadline time.Duration `json:"launch_deadline"` // request to RUNNING; default 15 min
}

// DrainSpec says how a pool's workers are taken out of service.
type DrainSpec struct {
	Timeout     time.Duration `json:"timeout"`           // then ended all the same; default 1 h
	Forever     bool          `json:"forever,omitempty"` // wait: forever; Timeout is then 0
	ProtectBusy bool          `json:"protect_busy"`      // a worker with a busy lease is no victim; default true
	Command     []string      `json:"command,omitempty"` // run by the agent; exit 0 = ready to go. Without one the program gets SIGTERM
}

// PoolMax is the most workers that one pool can have: the largest that EPU is made for and measured with. A
// pool's file can't allow more, and a policy that wishes for more has failed.
const PoolMax = 100_000

// Limits are a pool's guard rails: what a policy may cause at most.
type Limits struct {
	Min            int           `json:"min"`
	Max            int           `json:"max"`                    // required unless the policy is npreserving; -1 = none
	Launches       Count         `json:"launches"`               // default 100 per 10 min
	InFlight       int           `json:"in_flight"`              // launched and not yet RUNNING; default 50
	Terminations   Count         `json:"terminations"`           // N 0 = max(1, 20 %) of the workers; Window 0 = no such limit. Default 20 % per 10 min
	Loss           Share         `json:"loss,omitzero"`          // of the workers, at least one, on top of Terminations; Percent 0 = no such limit
	FailuresInRow  int           `json:"failures_in_row"`        // then launches back off up to FailureBackoff; default 5
	FailureBackoff time.Duration `json:"failure_backoff"`        // default 30 min
	FreezeAfter    int           `json:"freeze_after,omitempty"` // failed launches in a row, anywhere, that freeze the pool; 0 = none do
	MassConfirm    time.Duration `json:"mass_failure_confirm"`   // suspicion until a canary is launched; default 10 min
	Spend          float64       `json:"spend,omitempty"`        // US dollars per hour of open workers whose price is known; 0 = none. Beyond it nothing grows
}

// Share is a part of the workers within a window of time.
type Share struct {
	Percent int           `json:"percent"` // 1 to 100
	Window  time.Duration `json:"window"`
}

// EndsKept is how long ends count toward one of the limits on them.
func (l *Limits) EndsKept() time.Duration { return max(l.Terminations.Window, l.Loss.Window) }

// Driver names the kind of a site.
type Driver string

// The drivers.
const (
	DriverLocal Driver = "local"
	DriverSim   Driver = "sim"
	DriverEC2   Driver = "ec2"
)

// SiteSpec is a site as its file defines it, with defaults filled in.
type SiteSpec struct {
	Name             SiteID            `json:"name"`
	Owner            Owner             `json:"owner"`
	Driver           Driver            `json:"driver"`
	Folder           string            `json:"folder,omitempty"` // local: where instances live; default in the node's data folder
	DryRun           bool              `json:"dry_run,omitempty"`
	InstancesMax     int               `json:"instances_max"`       // of ours, all pools together; 0 = no limit
	APIBurst         int               `json:"api_burst"`           // calls at once; default 100
	APIPerSecond     float64           `json:"api_per_second"`      // refill; default 2 (local: 200)
	CallTimeout      time.Duration     `json:"call_timeout"`        // default 20 s
	LaunchesMax      int               `json:"concurrent_launches"` // default 10
	PollEvery        time.Duration     `json:"poll_every"`          // default 10 s (local: 1 s)
	VisibilityWindow time.Duration     `json:"visibility_window"`   // default 60 s (local: 1 s)
	BackoffFirst     time.Duration     `json:"backoff_first"`       // default 15 s
	BackoffCap       time.Duration     `json:"backoff_cap"`         // default 15 min
	ChargeEvery      time.Duration     `json:"charge_every"`        // machines are charged for whole periods of it; default 1 s
	Tags             map[string]string `json:"tags,omitempty"`      // on every machine; case is kept
	Origins          map[string]string `json:"origins,omitempty"`
}

// TypeSpec is a deployable type: what to launch, per site.
type TypeSpec struct {
	Name        string              `json:"name"`
	Owner       Owner               `json:"owner"`
	Description string              `json:"description,omitempty"`
	Variables   map[string]VarSpec  `json:"variables,omitempty"`
	Sites       map[SiteID]TypeSite `json:"sites"`
	AgentRun    []string            `json:"agent_run,omitempty"` // program the agent supervises; ${NAME} is substituted
	Origins     map[string]string   `json:"origins,omitempty"`
}

// VarSpec declares one variable of a deployable type.
type VarSpec struct {
	Doc      string   `json:"doc,omitempty"`
	Default  *string  `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	OneOf    []string `json:"one_of,omitempty"`
	From     string   `json:"from,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
}

// TypeSite is a deployable type's mapping to one site.
type TypeSite struct {
	Image      string     `json:"image"` // of the local site: a program's path
	Args       []string   `json:"args,omitempty"`
	Allocation Allocation `json:"allocation,omitempty"`
}

// LaunchSpec is a deployable type resolved for one pool and one site: all that a site needs to make
// requests, with secrets as references. Workers of one launch differ in nothing that stands here.
type LaunchSpec struct {
	Site       SiteID         `json:"site"`
	Type       string         `json:"type"`
	Image      string         `json:"image"`
	Args       []string       `json:"args,omitempty"`
	Allocation Allocation     `json:"allocation,omitempty"`
	Market     Market         `json:"market,omitempty"`
	Zone       string         `json:"zone,omitempty"`
	Vars       map[string]Var `json:"vars,omitempty"`
	Run        []string       `json:"run,omitempty"` // supervised by the agent; empty without one
	Health     HealthSpec     `json:"health"`
	Drain      DrainSpec      `json:"drain"`
}
