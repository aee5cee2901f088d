package epu

import (
	"strconv"
	"time"
)

// Quality says how far a reading can be trusted.
type Quality string

// The qualities of a reading.
const (
	QualityOK      Quality = "ok"
	QualityStale   Quality = "stale"   // older than the sensor's stale_after
	QualityUnknown Quality = "unknown" // nothing came, or the source said that it does not know
	QualityWarming Quality = "warming" // the source started anew less than warm_up ago
)

// Reading is one value of a sensor.
type Reading struct {
	Sensor  string        `json:"sensor"`
	Value   float64       `json:"value"`
	Time    time.Time     `json:"time"` // when it was taken
	Age     time.Duration `json:"age"`  // at the moment of the snapshot
	Quality Quality       `json:"quality"`
	StandIn MissingData   `json:"stand_in,omitempty"` // last or fallback: what takes the place of a reading that is stale or unknown
}

// Window sums up a sensor's readings over a span that ends at the moment of the snapshot.
type Window struct {
	Sensor  string        `json:"sensor"`
	Span    time.Duration `json:"span"`
	Mean    float64       `json:"mean"` // over time: a value holds until the next one
	Min     float64       `json:"min"`
	Max     float64       `json:"max"`
	Last    float64       `json:"last"`
	Slope   float64       `json:"slope"` // units per second, least squares
	Count   int           `json:"count"` // readings
	Covers  time.Duration `json:"covers"`
	Quality Quality       `json:"quality"` // the worst in it
}

// SensorSource says where a sensor's readings come from.
type SensorSource string

// The sources of readings.
const (
	SourcePush       SensorSource = "push"       // epumgmt sensor push, HTTP, a program of the user's
	SourceRabbitMQ   SensorSource = "rabbitmq"   // epu-agent queue, beside the broker
	SourcePrometheus SensorSource = "prometheus" // an instant query
	SourceCloudWatch SensorSource = "cloudwatch" // a metric statistic
	SourceSQS        SensorSource = "sqs"        // a queue's attributes
	SourceHTTP       SensorSource = "http"       // a number in a JSON document
	SourceCommand    SensorSource = "command"    // a program's standard output
)

// Pulled reports that the node itself fetches the readings.
func (s SensorSource) Pulled() bool { return s != SourcePush && s != SourceRabbitMQ }

// MissingData says what a sensor means while it has no good reading.
type MissingData string

// What missing data can mean.
const (
	MissingHold     MissingData = "hold"     // the quality says so, and policies hold
	MissingLast     MissingData = "last"     // the last value counts as good up to max_age
	MissingFallback MissingData = "fallback" // a fixed value takes its place
)

// SensorSpec is a sensor as a pool's file defines it, with defaults filled in.
type SensorSpec struct {
	Source     SensorSource  `json:"source"`
	Unit       string        `json:"unit,omitempty"`
	Every      time.Duration `json:"every"`       // between readings: asked of a pull source, expected of the others; default 15 s
	Timeout    time.Duration `json:"timeout"`     // of one pull; default 10 s
	StaleAfter time.Duration `json:"stale_after"` // age from which a reading is stale; default 3 times every, at least 30 s
	Missing    MissingData   `json:"missing"`     // default hold
	MaxAge     time.Duration `json:"max_age,omitempty"`
	Value      float64       `json:"value,omitempty"`   // of fallback
	Min        *float64      `json:"min,omitempty"`     // a value below it is none: the reading is unknown; default 0 where messages are counted
	Max        *float64      `json:"max,omitempty"`     // as Min, above
	WarmUp     time.Duration `json:"warm_up,omitempty"` // readings are "warming" so long after the source started; default 0
	Keep       time.Duration `json:"keep"`              // readings are kept so long for windows; default 1 h, at most 24 h
	Query      SensorQuery   `json:"query"`
}

// Least is the least value that the sensor can have; nil when there is none. Where messages are counted it is 0 unless
// the file says another one, also for a sensor that was stored before that was so.
func (s *SensorSpec) Least() *float64 {
	if s.Min == nil && (s.Source == SourceRabbitMQ || s.Source == SourceSQS) {
		return new(float64)
	}
	return s.Min
}

// Outside says why a value can't be one of the sensor's, or "".
func (s *SensorSpec) Outside(value float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	least := s.Least()
	switch {
	case least != nil && value < *least:
		return number(value) + " is below the sensor's min of " + number(*least)
	case s.Max != nil && value > *s.Max:
		return number(value) + " is above the sensor's max of " + number(*s.Max)
	}
	return ""
}

// SensorQuery says what is read, in the words of the source. Fields of other sources are empty.
type SensorQuery struct {
	URL         string            `json:"url,omitempty"`         // prometheus, http, sqs: the server or queue
	Expr        string            `json:"query,omitempty"`       // prometheus: PromQL that gives one value
	Field       string            `json:"field,omitempty"`       // http: JSON pointer (RFC 6901) to the number
	Headers     map[string]Var    `json:"headers,omitempty"`     // prometheus, http
	Command     []string          `json:"command,omitempty"`     // command: program and arguments; prints the number
	Queue       string            `json:"queue,omitempty"`       // rabbitmq: for people; sqs: the queue's name when there is no URL
	Count       string            `json:"count,omitempty"`       // sqs: visible | in-flight | delayed | total
	Region      string            `json:"region,omitempty"`      // sqs, cloudwatch
	Endpoint    string            `json:"endpoint,omitempty"`    // sqs, cloudwatch: instead of AWS's own
	Profile     string            `json:"aws_profile,omitempty"` // sqs, cloudwatch: default the AWS chain
	Namespace   string            `json:"namespace,omitempty"`   // cloudwatch
	Metric      string            `json:"metric,omitempty"`      // cloudwatch
	Statistic   string            `json:"statistic,omitempty"`   // cloudwatch: Average Sum SampleCount Maximum Minimum
	Dimensions  map[string]string `json:"dimensions,omitempty"`  // cloudwatch
	Period      time.Duration     `json:"period,omitempty"`      // cloudwatch: default 1 min
	BearerToken Var               `json:"bearer_token,omitzero"` // prometheus, http: by reference only
}

// WorkSpec names the sensors that tell of a finite amount of work.
type WorkSpec struct {
	Left     string `json:"left,omitempty"`     // sensor: work not yet done
	Rate     string `json:"rate,omitempty"`     // sensor: work done per second by all workers; learned when empty
	Deadline string `json:"deadline,omitempty"` // RFC 3339 time, or a sensor that gives unix seconds
}

// At is what sensors tell of the work at a moment. A name that is none of theirs tells nothing.
func (s WorkSpec) At(read map[string]Reading) Work {
	var w Work
	if r, ok := read[s.Left]; ok {
		w.Left = &r
	}
	if r, ok := read[s.Rate]; ok {
		w.Rate = &r
	}
	if r, ok := read[s.Deadline]; ok {
		if r.Quality != QualityUnknown {
			w.Deadline = time.Unix(int64(r.Value), 0).UTC()
		}
	} else if t, err := time.Parse(time.RFC3339, s.Deadline); err == nil {
		w.Deadline = t
	}
	return w
}

// Work is what is known of a finite amount of work at one moment.
type Work struct {
	Left     *Reading  `json:"left,omitempty"`
	Rate     *Reading  `json:"rate,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// HookSpec is a program that the node runs for each worker at one point of its life.
type HookSpec struct {
	Run     []string      `json:"run"`     // program and arguments; the worker is in its environment
	Timeout time.Duration `json:"timeout"` // of one try; default 30 s
	Tries   int           `json:"tries"`   // default 5, with growing pauses; then it is given up and an alert stands
}

// HooksSpec are a pool's programs around its workers' lives.
type HooksSpec struct {
	Running *HookSpec `json:"running,omitempty"` // when a worker has become RUNNING: register it
	Ending  *HookSpec `json:"ending,omitempty"`  // before a worker that has been RUNNING is ended, or after it was lost: take it off
}

// Offer is one thing that can be bought at a site now.
type Offer struct {
	Site       SiteID     `json:"site,omitempty"` // empty where a provider speaks of itself
	Allocation Allocation `json:"allocation"`
	Zone       string     `json:"zone,omitempty"`
	Market     Market     `json:"market"`
	USDPerHour float64    `json:"usd_per_hour"`
	Free       int        `json:"free,omitempty"` // of a reservation; 0 for other markets
}

// Budget is what a pool may cost and costs.
type Budget struct {
	PerHour float64 `json:"usd_per_hour"` // limit; 0 = none
	Now     float64 `json:"now"`          // of the open workers whose price is known
	Unknown int     `json:"unknown"`      // open workers without a known price
}

// Change is one step in a worker's life since the last decision.
type Change struct {
	Worker WorkerID  `json:"worker"`
	What   string    `json:"what"` // "state", "health", "draining" or "gone"
	From   string    `json:"from,omitempty"`
	To     string    `json:"to"`
	Time   time.Time `json:"time"`
}
