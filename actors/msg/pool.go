package msg

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// Define is sent by the registry to a controller until Defined with the same generation comes back. It
// is absolute: everything that operators' files and switches say about the pool.
type Define struct {
	Epoch    epu.Epoch `json:"-"` // of the store; a higher one than the controller's ends its recovery
	Gen      uint64    // of the registry's stream at the pool's last change
	Spec     epu.PoolSpec
	Version  string                        `json:",omitempty"` // hash of the policy's version; empty = what the node's library has
	Launches map[epu.SiteID]epu.LaunchSpec // the pool's deployable type, resolved for every site it names
	ConfGen  uint64                        // generation of the policy configuration: a new one replaces what reconfigure changed
	EndAll   bool                          // terminate-all: every worker ends and none is launched
	Removing bool                          // drain and end every worker, then report Removed
	DryRun   []epu.SiteID                  `json:",omitempty"` // sites of the placement where nothing is launched or ended
}

// Defined answers Define. Left is how many machines of the pool are not confirmed gone.
type Defined struct {
	Owner epu.Owner
	Pool  epu.PoolID
	Gen   uint64
	Left  int
}

// Removed is sent by a controller to the registry when a pool being removed has nothing left, until
// the registry ends the controller.
type Removed struct {
	Owner epu.Owner
	Pool  epu.PoolID
	Gen   uint64
}

// CheckInWorker carries an agent's check-in from the gateway, its bootstrap token verified, to the
// pool's controller. The answer is WorkerCheckedIn or Refused; as Transient when its machine runs and its
// launch does not know yet that it does: the agent comes back after a second.
type CheckInWorker struct {
	Launch   epu.LaunchID
	Instance epu.InstanceID
}

// WorkerCheckedIn answers CheckInWorker.
type WorkerCheckedIn struct {
	Worker    epu.WorkerID
	Name      string
	Vars      map[string]string
	Heartbeat time.Duration
	Drain     epu.DrainSpec
}

// Refused is an actor's answer to a command or question that it can't fulfil.
type Refused struct {
	Err *epu.Error
	// Problems are all findings, where a configuration was refused; that of a setting begins with its key.
	Problems []string
}

// Reason is the refusal as an error; of several problems it also lists each.
func (r Refused) Reason() error {
	if len(r.Problems) < 2 {
		return r.Err
	}
	refusal := &Refusal{Err: r.Err}
	for _, text := range r.Problems {
		refusal.List = append(refusal.List, &Problem{Text: text})
	}
	return refusal
}

// WorkerFact is what a worker's actor tells its controller when its verdict changed, and in answer to
// Look. A lost one is asked for again by the next Look; one that was overtaken is dropped.
type WorkerFact struct {
	Worker  epu.WorkerID
	At      time.Time // when it was so
	Health  epu.Health
	Error   string // newest process or monitor error, one line
	Heard   bool   // a beat came in this life of the worker's actor
	Silent  bool   // three beats in a row are overdue
	Drained bool   // its programs have stopped after a drain
	Busy    time.Time
	Idle    time.Time
	Next    time.Time // when to send Look; zero = not by itself
}

// Look tells a worker's actor that its next deadline has come, and once more what its controller knows.
// It is repeated until WorkerFact answers it.
type Look struct{ Watch WatchWorker }

// WatchWorker tells a worker's actor what its controller durably knows of it; absolute.
type WatchWorker struct {
	Running  bool
	Known    bool // had checked in before
	Ended    bool
	Draining bool
	Recounts uint32          // how often all counting of silence has begun anew; another number begins it here
	Spec     *epu.HealthSpec // shared by a pool's workers; nobody changes it
}

// ShiftTimes forgives a span in which the node could hear nobody.
type ShiftTimes struct{ By time.Duration }

// WorkerQuery asks a worker's actor what it knows; it is answered with WorkerView.
type WorkerQuery struct{}

// WorkerView is what only a worker's actor knows.
type WorkerView struct {
	Worker    epu.WorkerID
	LastHeard time.Time
	Errors    []ProcessReport
	ErrorsAt  []time.Time
}

// CommandsQuery asks a worker's actor for the commands its agent has not acknowledged. The answer
// AgentOrders comes at once when there are any after the ID After, otherwise when there is one.
type CommandsQuery struct{ After string }

// AgentOrders answers CommandsQuery and BeatReceived.
type AgentOrders struct {
	Gone     bool // the worker has ended: the agent stops its programs
	Commands []AgentCommand
}

// PoolQuery asks a controller for its view; it is answered with PoolView.
type PoolQuery struct{}

// PoolView is what a controller tells people. Workers are shared and immutable.
type PoolView struct {
	Spec          epu.PoolSpec
	Gen           uint64
	Conf          map[string]any
	Overrides     map[string]Override // what reconfigure and scale changed since the last apply
	Wish          epu.Wish
	Last          *epu.Decision
	Workers       []*epu.Worker // those not gone
	Freeze        *FreezeState
	EndAll        bool
	Removing      bool
	Recovery      bool
	Suspect       bool
	Engine        string       // PENDING, STABLE, UNKNOWN
	Failure       string       // the policy's newest error while it fails
	FailingSince  time.Time    // it fails without a break; zero while it does not
	SuspectSince  time.Time    // most workers are silent; zero while they are not
	AlertingSince time.Time    // the policy has had something to say at each decision; zero while it has not
	LaunchesFail  time.Time    // launches have failed since, and none has run; zero = none failed
	LaunchFault   string       // why the newest of those failed; empty when nobody knows
	UnseenSince   time.Time    // of the oldest reading or change that the policy has not decided about; zero = none
	UnseenNewest  time.Time    // of the newest of these
	Refused       []epu.Reason // what the guard rails keep from being done now
	Backoff       time.Time
	Degraded      string // why the store can't be written
	Launches      int    // that are not forgotten yet
	Sensors       []SensorView
	Shadow        string      // how the candidate in the policy's shadow does; empty = there is none
	Faults        []HookFault // hooks that were given up since the pool was applied, the newest
}

// HookFault is a hook that was given up for one worker.
type HookFault struct {
	Worker epu.WorkerID `json:"worker"`
	Hook   string       `json:"hook"` // running or ending
	Error  string       `json:"error"`
	Time   time.Time    `json:"time"`
}

// SensorView is how a sensor is now, for alerts.
type SensorView struct {
	Reading  epu.Reading // as it is: nothing takes the place of missing data
	Fault    string      // why the newest reading is unknown
	BadSince time.Time   // it can't be relied upon since then; zero when it can
}

// TurnsQuery asks a controller which readings of its sensors would change its pool's wish.
type TurnsQuery struct{}

// Turns answers it. The zero value says that nothing could be found out.
type Turns struct {
	Known   bool
	Next    int    // the target that the policy would want now, all as it is
	Sensors []Turn // those with a good reading, by name
}

// Turn says from which readings of a sensor on a pool's wish would be another one, all else being equal.
type Turn struct {
	Sensor       string
	Below, Above *Edge // nil = none was found
}

// Edge is such a reading, and the target that it leads to.
type Edge struct {
	Value  float64
	Target int
	Beyond bool // from right beyond Value on, and not at it
}

// PoolSensorsQuery asks a controller for its sensors with their newest readings; it is answered with
// *Sensors.
type PoolSensorsQuery struct{}

// Override is a configuration value that an operator changed since the last apply.
type Override struct {
	Value any       `json:"value"`
	By    string    `json:"by"`
	Time  time.Time `json:"time"`
}

// FreezeState says who froze a pool and how.
type FreezeState struct {
	By      string    `json:"by"`
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"`
	Healing bool      `json:"healing,omitempty"`
}

// Command wraps an operator's protobuf command for an actor with who sent it.
type Command struct {
	Sender
	Body any // *Scale, *Reconfigure, *Kill, *FreezeCommand, *Thaw
}

// AdoptMachine orders a controller to take in a machine that a site lists as stray.
type AdoptMachine struct {
	Site     epu.SiteID
	Instance epu.InstanceID
}
