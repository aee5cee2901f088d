package policytest

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// Schema is the form of scenario files that this package reads.
const Schema = "epu/policy-test/v1"

// Bounds on one scenario file.
const (
	testsMax  = 1000
	expectMax = 10_000
	lengthMax = 366 * 24 * time.Hour
	ticksMax  = 1_000_000
	crowdMax  = 100_000 // workers
)

// Scenarios is one scenario file as it was read, with what its tests share.
type Scenarios struct {
	File   string
	Policy string // its name
	Tests  []Scenario
}

// Scenario is one test: series of readings, the world around the pool, and what the policy should want
// and why at some of the moments.
type Scenario struct {
	Name string
	Doc  string
	Line int // where it stands in its file
	setting
	Series      map[string]series
	Reconfigure []reconfigure
	Restart     []time.Duration
	Expect      []Moment
	Totals      Totals
	Refused     string // part of the text with which the configuration is refused
	refusedLine int
}

// setting is what a file may say for all its tests and a test for itself.
type setting struct {
	Conf      map[string]any // the test's own over the file's, key by key
	Interval  time.Duration  // between decisions, and between the samples of a series
	Start     time.Time      // of the first decision
	Limits    epu.Limits
	Placement []epu.Placement
	Sensors   map[string]epu.SensorSpec
	Work      epu.WorkSpec // which of the sensors tell of a finite amount of work
	World     world
}

// world is how the surroundings behave.
type world struct {
	Workers int                        // that run at the start
	Boot    time.Duration              // from a launch until the worker runs
	Drain   time.Duration              // from a drain until the worker may go
	Notice  time.Duration              // from a failure until it is known
	Fail    map[time.Duration]int      // how many of the oldest running workers fail, by time
	Prices  map[epu.SiteID]float64     // US dollars per hour
	Busy    map[time.Duration]busySpan // workers that get work, by time
}

// busySpan is a number of idle workers, the oldest first, that begin to work for a time.
type busySpan struct {
	Workers int
	For     time.Duration
}

// series is the samples of one sensor, one for each interval.
type series struct {
	samples []sample
	line    int
}

// reconfigure is a change of the configuration between two decisions.
type reconfigure struct {
	At      time.Duration
	Conf    map[string]any
	Refused string // part of the text; nothing changes then
	Line    int
}

// Moment is what the decision at one time should be. What it leaves out is not looked at.
type Moment struct {
	At           time.Duration
	Line         int
	Target       *int     // the wish in force, after the guard rails
	Wanted       *int     // the policy's own words
	Running      *int     // workers after the decision
	Starting     *int     // workers after the decision
	Draining     *int     // workers after the decision
	Launches     *int     // workers launched by then
	Terminations *int     // workers ended by then
	Uniques      []string // names, sorted; nil = any
	Because      []string // parts of the reasons and clamps
	Alert        string   // part of an alert
	Error        string   // part of the error; without it there must be none
	Refused      []string // parts of what the guard rails refused
}

// Totals are counts over a whole test.
type Totals struct {
	Line         int
	Launches     *int
	Terminations *int
	Drains       *int
	Failures     *int
	TargetMax    *int // the highest target at any time
	TargetMin    *int // the lowest
	Changes      *int // how often the target changed
}
