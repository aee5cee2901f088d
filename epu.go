package epu

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Owner is the tenant that an ID, stream or machine belongs to. One installation starts with one.
type Owner string

// DefaultOwner is the owner of everything whose files and commands name none.
const DefaultOwner Owner = "default"

// PoolID names a pool within its owner; by convention "epu-<service>".
type PoolID string

// SiteID names a site.
type SiteID string

// LaunchID is "<pool>-<epoch>-<seq>": one request to one site with one token, for life.
type LaunchID string

// NewLaunchID makes the ID of a pool's seq-th launch (from 1) in a store's epoch.
func NewLaunchID(pool PoolID, epoch Epoch, seq uint64) LaunchID {
	return LaunchID(fmt.Sprintf("%s-%d-%d", pool, epoch, seq))
}

// Parse splits a launch ID into its parts; ok is false for anything NewLaunchID did not make.
func (id LaunchID) Parse() (pool PoolID, epoch Epoch, seq uint64, ok bool) {
	s := string(id)
	i := strings.LastIndexByte(s, '-')
	if i <= 0 {
		return "", 0, 0, false
	}
	j := strings.LastIndexByte(s[:i], '-')
	if j <= 0 {
		return "", 0, 0, false
	}
	e, err1 := strconv.ParseUint(s[j+1:i], 10, 64)
	n, err2 := strconv.ParseUint(s[i+1:], 10, 64)
	if err1 != nil || err2 != nil {
		return "", 0, 0, false
	}
	return PoolID(s[:j]), Epoch(e), n, true
}

// WorkerID is "<launch>/<slot>" with slots counted from 0: one wanted worker, at most one machine.
type WorkerID string

// NewWorkerID makes the ID of one slot of a launch.
func NewWorkerID(launch LaunchID, slot int) WorkerID {
	return WorkerID(string(launch) + "/" + strconv.Itoa(slot))
}

// NewWorkerIDs makes the IDs of the slots of a launch that has n. They share their memory.
func NewWorkerIDs(launch LaunchID, n int) []WorkerID {
	var all strings.Builder
	all.Grow(n * len(NewWorkerID(launch, n)))
	ids, digits := make([]WorkerID, n), []byte(nil)
	for i := range ids {
		at := all.Len()
		digits = strconv.AppendInt(digits[:0], int64(i), 10)
		all.WriteString(string(launch))
		all.WriteByte('/')
		all.Write(digits)
		ids[i] = WorkerID(all.String()[at:])
	}
	return ids
}

// Parse splits a worker ID into its launch and slot.
func (id WorkerID) Parse() (launch LaunchID, slot int, ok bool) {
	l, s, found := strings.Cut(string(id), "/")
	n, err := strconv.Atoi(s)
	if !found || err != nil || n < 0 {
		return "", 0, false
	}
	return LaunchID(l), n, true
}

type (
	// InstanceID is the cloud's own ID of a machine. It never comes from an address or a host name.
	InstanceID string
	// InstallationID is born with a store and is on every machine launched from it.
	InstallationID string
	// Epoch counts a store's lives: restore and import raise it, so what an older life said is recognised.
	Epoch uint64
	// Revision is the number of events in a stream; the first event makes it 1.
	Revision uint64
	// StreamID names a stream: "pool/<owner>/<pool>", "site/<site>" or "registry/<owner>".
	StreamID string
	// DecisionID is a ULID: sortable by time, the same in logs, paths and arguments.
	DecisionID string
	// Keeper says who owns a machine: "pool/<owner>/<pool>" or "run/<run>".
	Keeper string
	// Token makes a launch idempotent at the cloud; at most 64 characters.
	Token string
	// Allocation is the size of an instance in the site's own words, such as c7i.2xlarge.
	Allocation string
)

// PoolStream is the stream of a pool's controller.
func PoolStream(owner Owner, pool PoolID) StreamID {
	return StreamID("pool/" + string(owner) + "/" + string(pool))
}

// SiteStream is the stream of a site.
func SiteStream(site SiteID) StreamID { return StreamID("site/" + string(site)) }

// PoolKeeper is the keeper tag of a pool's machines.
func PoolKeeper(owner Owner, pool PoolID) Keeper {
	return Keeper("pool/" + string(owner) + "/" + string(pool))
}

// State is an instance's place in its life cycle. States sort in life-cycle order and only move forward.
type State int16

// The life-cycle states. Zero means that nothing is known.
const (
	Requesting    State = 100 // the controller decided; the site has not acknowledged
	Requested     State = 200 // the site has a durable record of the request
	ErrorRetrying State = 300 // the call failed and is being repeated with the same token
	Pending       State = 400 // the cloud accepted the launch
	Started       State = 500 // the machine runs; its worker is not known to be ready
	Running       State = 600 // ready for work
	RunningFailed State = 650 // the machine runs, contextualization failed
	Terminating   State = 700 // its end is durable and being carried out
	Terminated    State = 800 // confirmed gone
	Failed        State = 900 // never came to be, and will not be retried under this ID
	Rejected      State = 950 // refused by EPU itself: switched off, unsupported
)

var stateWords = map[State]string{
	Requesting: "REQUESTING", Requested: "REQUESTED", ErrorRetrying: "ERROR_RETRYING", Pending: "PENDING",
	Started: "STARTED", Running: "RUNNING", RunningFailed: "RUNNING_FAILED", Terminating: "TERMINATING",
	Terminated: "TERMINATED", Failed: "FAILED", Rejected: "REJECTED",
}

// States lists every life-cycle state in order.
func States() []State {
	return []State{
		Requesting, Requested, ErrorRetrying, Pending, Started, Running, RunningFailed,
		Terminating, Terminated, Failed, Rejected,
	}
}

// Word is the state as tables for people show it.
func (s State) Word() string {
	if w, ok := stateWords[s]; ok {
		return w
	}
	return "UNKNOWN"
}

// String is the state as machine output shows it: 600-RUNNING.
func (s State) String() string { return fmt.Sprintf("%03d-%s", int(s), s.Word()) }

// Gone reports that no machine stands behind the state any more.
func (s State) Gone() bool { return s >= Terminated }

// Health is what a controller believes of a worker.
type Health int8

// The health states.
const (
	HealthUnknown Health = iota // booting, ended, or not watched
	HealthOK
	MonitorError // the agent could not look after its programs
	ProcessError // a program of the worker failed
	OutOfContact // silent too long; asked to answer at once
	Missing      // did not answer: to be replaced
	Zombie       // heard of too long after its end
)

var healthWords = [...]string{"UNKNOWN", "OK", "MONITOR_ERROR", "PROCESS_ERROR", "OUT_OF_CONTACT", "MISSING", "ZOMBIE"}

// String is the health's word.
func (h Health) String() string {
	if h < 0 || int(h) >= len(healthWords) {
		return fmt.Sprintf("HEALTH(%d)", int(h))
	}
	return healthWords[h]
}

// Market is how a machine is paid for.
type Market string

// The markets.
const (
	OnDemand Market = "on-demand"
	Reserved Market = "reserved"
	Spot     Market = "spot"
)

// Worker is one slot of a launch as its controller sees it. A Worker value is immutable once shared:
// a change makes a new one, so snapshots may hold pointers to it.
type Worker struct {
	ID         WorkerID
	Launch     LaunchID
	Slot       int               // place in its launch, from 0
	Name       string            // of a unique worker; empty for a generic one
	Vars       map[string]string // what only this worker has; never secrets
	Instance   InstanceID        // empty until the cloud's answer is known
	Site       SiteID
	Zone       string
	Allocation Allocation
	Market     Market
	Address    string    // where the machine is reached; empty when unknown
	StateSince time.Time // when State began
	Created    time.Time // when its launch was opened
	State      State     // the small fields stand together: there is a Worker for every machine
	Health     Health
	Suspect    bool      // silent, but the controller may itself be deaf: shown, not acted on
	Draining   bool      // takes no new work; ends when its drain does
	Ended      bool      // its end is durable
	Protected  bool      // an operator keeps it from being a victim
	Leaving    bool      // drained by an order and not as surplus: it is not called back by itself
	Replacing  bool      // an operator wants another in its place: it goes once the others are enough
	AskedFrom  int32     // workers that earlier launches of the same action of the policy have; see Provisional
	EndReason  string    // why it was ended, empty while Ended is false
	Error      string    // the newest process, monitor or launch error, one line
	IdleSince  time.Time // zero when busy or not reported
	BusyUntil  time.Time // end of its busy lease; zero when none
	Asked      string    // "<decision>/<index>" of the policy's action that launched it; empty otherwise
	Price      float64   // US dollars per hour; 0 = not known
	ChargeAt   time.Time // when its next charge begins; zero = not known or charged by the second
}

// Open reports that the worker counts as supply: wanted, and neither ended nor failed.
func (w *Worker) Open() bool { return !w.Ended && !w.State.Gone() && w.State < Terminating }

// Unhealthy reports that a worker should be replaced: contextualization failed, or its health is
// neither good, unknown nor merely out of contact.
func (w *Worker) Unhealthy() bool {
	if w.State == RunningFailed {
		return true
	}
	if w.Suspect {
		return false
	}
	switch w.Health {
	case HealthUnknown, HealthOK, OutOfContact:
		return false
	}
	return true
}
