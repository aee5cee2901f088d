package epu

import (
	"encoding/json"
	"strconv"
	"time"
)

// VictimOrder says which workers of equal standing end first.
type VictimOrder string

// The victim orders.
const (
	Oldest        VictimOrder = "oldest"
	Newest        VictimOrder = "newest"
	IdleLongest   VictimOrder = "idle-longest"
	MostExpensive VictimOrder = "most-expensive"
	NearestCharge VictimOrder = "nearest-charge"
)

// Unique is one named worker that a policy wants.
type Unique struct {
	Vars       map[string]string `json:"vars,omitempty"`
	Site       SiteID            `json:"site,omitempty"`
	Allocation Allocation        `json:"allocation,omitempty"`
	Market     Market            `json:"market,omitempty"`
}

// Urgency says how much a wish may wait. It never loosens a limit on how much is launched or ended.
type Urgency string

// The urgencies.
const (
	// UrgencyLow takes its time to shrink: a surplus worker whose next charge is known ends only in the
	// last ChargeBoundary before it, since its time until then is paid for. The rest is as ever.
	UrgencyLow Urgency = "low"
	// UrgencyNormal is the default, and the same as an empty urgency.
	UrgencyNormal Urgency = "normal"
	// UrgencyHigh does not wait out the backoff that follows failed launches: neither the pool's after failures
	// in a row nor a site's. Every other guard rail holds.
	UrgencyHigh Urgency = "high"
)

// ChargeBoundary is how long before its next charge a worker counts as near it.
const ChargeBoundary = 10 * time.Minute

// Wish is what a policy wants: repeatable, absolute, and carried out until the next one.
type Wish struct {
	Target     int               `json:"target"`            // workers in all, uniques included
	Uniques    map[string]Unique `json:"uniques,omitempty"` // by name; an absent name is unwanted
	Site       SiteID            `json:"site,omitempty"`    // of generic workers; empty = the pool's placement
	Allocation Allocation        `json:"allocation,omitempty"`
	Market     Market            `json:"market,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`    // overlay of the pool's variables for new generic workers
	Victims    VictimOrder       `json:"victims,omitempty"` // default newest
	NoHeal     bool              `json:"no_heal,omitempty"` // leave failed workers as they are (development)
	Urgency    Urgency           `json:"urgency,omitempty"` // default normal
	// Sites is how many open workers, unique ones included, are wanted at each named site; a 0 wants none
	// there. Launches go to named sites that have too few; of a surplus, workers at sites that have more
	// than named end first. What a named site refuses goes to sites that have no number, never to others beyond
	// theirs, and waits if there are none. The numbers add up to at most Target: the rest goes where Site or the
	// pool's placement says, to sites without a number first.
	Sites map[SiteID]int `json:"sites,omitempty"`
}

// Reason is one step of an explanation. Text is a sentence without a full stop.
type Reason struct {
	Rule   string `json:"rule,omitempty"` // short name, such as "preserve_n" or "limits.max"
	Text   string `json:"text"`
	Origin string `json:"origin,omitempty"` // file:line of the setting that decided
}

// ActionKind says what an action does.
type ActionKind string

// The actions a decision can hold.
const (
	ActLaunch    ActionKind = "launch"
	ActTerminate ActionKind = "terminate"
	ActDrain     ActionKind = "drain"
	ActResume    ActionKind = "resume"
)

// Action is one thing to be done once. Policies ask for actions; reconcile turns a wish into them. A
// decision's ID and an action's place in it, counted from 0, make it one of a kind.
type Action struct {
	Kind       ActionKind        `json:"kind"`
	Workers    []WorkerID        `json:"workers,omitempty"` // of terminate, drain, resume
	Count      int               `json:"count,omitempty"`   // of launch
	Name       string            `json:"name,omitempty"`    // of launch: the unique worker
	Site       SiteID            `json:"site,omitempty"`    // of launch, as are the next three; empty = the pool's placement
	Allocation Allocation        `json:"allocation,omitempty"`
	Market     Market            `json:"market,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"` // overlay of the pool's variables
	Reason     string            `json:"reason,omitempty"`
	At         string            `json:"at,omitempty"` // file:line of the policy where it was asked for; empty = the wish is behind it
}

// Asked is what a launch asked for by a policy leaves on its workers: "<decision>/<index>".
func Asked(decision DecisionID, index int) string {
	return string(decision) + "/" + strconv.Itoa(index)
}

// Provisional is the ID under which a policy knows a worker that it asked for before the launch is
// durable: "<decision>/<index>/<slot>".
func Provisional(asked string, slot int) WorkerID {
	return WorkerID(asked + "/" + strconv.Itoa(slot))
}

// Input is one thing a policy read: what it asked and what it was told.
type Input struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// Direction says which way a decision went.
type Direction string

// The directions.
const (
	Up   Direction = "up"
	Down Direction = "down"
	Hold Direction = "hold"
)

// Decision is one evaluation of a policy with all that led to it and came of it. The record, explain,
// tests and the simulator read this one value.
type Decision struct {
	ID           DecisionID      `json:"id"`
	Pool         PoolID          `json:"pool"`
	Owner        Owner           `json:"owner"`
	Time         time.Time       `json:"time"`
	Policy       string          `json:"policy"`
	PolicyHash   string          `json:"policy_hash"` // first 12 hex digits of the source's SHA-256
	Seed         uint64          `json:"seed,string"` // a string: it is wider than the numbers of JSON readers
	Conf         map[string]any  `json:"conf,omitempty"`
	Inputs       []Input         `json:"inputs,omitempty"`
	MemoryBefore json.RawMessage `json:"memory_before,omitempty"`
	MemoryAfter  json.RawMessage `json:"memory_after,omitempty"`
	Reasons      []Reason        `json:"reasons,omitempty"`
	Wanted       Wish            `json:"wanted"` // the policy's own words
	Wish         Wish            `json:"wish"`   // after the guard rails
	Before       int             `json:"before"` // target before this decision
	Clamps       []Reason        `json:"clamps,omitempty"`
	Rejected     []Reason        `json:"rejected,omitempty"` // alternatives that were considered and why not
	Actions      []Action        `json:"actions,omitempty"`
	Alerts       []string        `json:"alerts,omitempty"`
	TickEvery    time.Duration   `json:"tick_every,omitempty"` // the policy asked for this period; 0 = unchanged
	Took         time.Duration   `json:"took"`
	Equal        int             `json:"equal,omitempty"` // ticks since the record before this one that decided the same
	Same         DecisionID      `json:"same,omitempty"`  // the recorded decision that this one repeats; it has no record of its own
	Error        string          `json:"error,omitempty"` // the policy failed: the last wish stands
}

// Direction compares the target with the one before.
func (d *Decision) Direction() Direction {
	switch {
	case d.Wish.Target > d.Before:
		return Up
	case d.Wish.Target < d.Before:
		return Down
	}
	return Hold
}
