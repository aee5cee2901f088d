package sim

import (
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// Range is a span of durations from which one is drawn evenly. Equal ends mean exactly that.
type Range struct{ Min, Max time.Duration }

// Place is where capacity is counted. An empty field stands for every zone or every allocation.
type Place struct {
	Zone       string
	Allocation epu.Allocation
}

// Failure makes a share of the calls fail with an error of a kind.
type Failure struct {
	Op   string // "launch", "list", "terminate", "offers" or "notices"; empty for each of them
	Kind epu.Kind
	P    float64 // 0 to 1
}

// DeadToken says what a repeated launch answers once all its machines have ended. Both are allowed by
// the contract, and clouds differ.
type DeadToken int

// The answers to a launch whose machines have all ended.
const (
	DeadTokenReturns  DeadToken = iota // the dead machines
	DeadTokenConflict                  // an error of kind Conflict
	DeadTokenEither                    // one of the two, by the token
)

// Options say how the cloud behaves. The zero value is a perfect cloud without limits.
type Options struct {
	Zones       []string         // any words; empty = one nameless zone
	Allocations []epu.Allocation // sizes that can be had; empty = every one
	Images      []string         // images that exist; empty = every one
	Boot        Range            // pending to running
	BootDeath   float64          // share of the machines that end at the moment they should run
	Ending      Range            // from the call of Terminate to terminated
	Linger      time.Duration    // how long a terminated machine is listed; 0 = not at all

	// Visibility is the window in which a new machine may be missing. Each listing sees each machine
	// as it was some time ago, less than the window; so states can be old too, and go back and forth.
	Visibility time.Duration

	Quota         int           // machines that live at once, all together; 0 = no limit
	Capacity      map[Place]int // at once; all places that match a machine count; absent = no limit
	DroughtEvery  time.Duration // in each such period a place may have no room for anything new
	DroughtChance float64       // share of the periods that have none
	Short         float64       // share of the launches that get fewer than Max, though at least Min
	Failures      []Failure

	CallBurst     int     // calls at once; further ones are throttled; 0 = no limit
	CallPerSecond float64 // refill of CallBurst

	LifeMean     time.Duration // mean time until a running machine ends by itself; 0 = never
	SpotLifeMean time.Duration // the same for spot machines, on top
	SpotWarning  time.Duration // notice before a spot machine's end
	DeadTokens   DeadToken

	Offers     []iaas.Offer  // base prices; Free of a reserved offer limits its market
	PriceEvery time.Duration // how often spot prices move; 0 = never
	PriceSwing float64       // by at most this share, up or down
}

// Rough is a cloud in which everything goes wrong often, for campaigns.
func Rough() Options {
	return Options{
		Zones:         []string{"a", "b", "c"},
		Boot:          Range{5 * time.Second, 3 * time.Minute},
		BootDeath:     0.03,
		Ending:        Range{0, 90 * time.Second},
		Linger:        10 * time.Minute,
		Visibility:    time.Minute,
		DroughtEvery:  5 * time.Minute,
		DroughtChance: 0.1,
		Short:         0.1,
		Failures: []Failure{
			{Op: "launch", Kind: epu.Capacity, P: 0.03},
			{Op: "launch", Kind: epu.Quota, P: 0.01},
			{Op: "launch", Kind: epu.UnknownOutcome, P: 0.05},
			{Op: "terminate", Kind: epu.UnknownOutcome, P: 0.05},
			{Kind: epu.Throttled, P: 0.03},
			{Kind: epu.Transient, P: 0.03},
		},
		LifeMean:     4 * time.Hour,
		SpotLifeMean: time.Hour,
		SpotWarning:  2 * time.Minute,
		DeadTokens:   DeadTokenEither,
	}
}
