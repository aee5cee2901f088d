package simulate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/policies"
)

// Config is one simulation. Zero values are usable unless it is said otherwise.
type Config struct {
	Policy    *policies.Policy // needed
	Conf      map[string]any   // as an operator writes it
	Workload  *Workload        // needed
	JobLength Spread           // of jobs that have no length, and its mean of the pieces of a flow; default 1 min
	Tick      time.Duration    // between decisions; default 5 s
	Every     time.Duration    // between readings of the sensors; default a tick
	Boot      Spread           // of a worker, from its launch
	Life      Spread           // of a worker, until it fails; 0 = for ever
	Notice    time.Duration    // until a failure is known; default 135 s, as health checks take by default
	Workers   int              // that run at the start
	Start     time.Time        // default 2026-01-01T00:00:00Z
	Length    time.Duration    // default: until all work is done, at most twice as long as work comes in, and a day
	Seed      uint64
	Limits    *epu.Limits // default DefaultLimits
	Placement []epu.Placement
	Drain     *epu.DrainSpec // default: at most 1 h, and busy workers are no victims
	Price     float64        // US dollars per hour of one worker
	Charge    time.Duration
	Deadline  time.Duration     // of all work, since the start; 0 = none. Policies read it with state.work()
	Sensors   map[string]string // more sensors: name -> measure
	Changes   []Change          // of the configuration while it runs, in the order of time
	Print     func(string)
	Label     string // of the result; default the policy's name
}

// Change is a change of the configuration between two decisions, as an operator makes it.
type Change struct {
	At   time.Duration // since the start
	Conf map[string]any
}

// Measures lists what sensors can measure, each with what it is. Each measure is also the name of a
// sensor.
func Measures() [][2]string {
	return [][2]string{
		{"queue-length", "jobs that nobody works on yet"},
		{"jobs", "jobs waiting or in work"},
		{"jobs-per-worker", "jobs waiting or in work for each running worker"},
		{"utilization", "percent of the running workers that work"},
		{"idle-workers", "running workers that have nothing to do"},
		{"arrivals-per-minute", "jobs that came since the reading before, for each minute"},
		{"work-left", "seconds of work that wait or are begun"},
	}
}

const day = 24 * time.Hour

// ticksMax bounds a run.
const ticksMax = 20_000_000

// simulation is one run.
type simulation struct {
	Config
	pool    *Pool
	work    work
	sensors *Sensors
	queue   map[string]string // sensor -> measure
	now     time.Duration
	end     time.Duration
	before  gauges // at the last reading
	sensed  time.Duration
	result  *Result
}

// Run runs one simulation to its end. The same Config gives the same Result. The error may be that of the
// context, at most one decision after it ended.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	s, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	defer s.pool.Close()
	tick, sense := time.Duration(0), time.Duration(0)
	every := s.Tick
	for at := time.Duration(0); at <= s.end; at = s.next(tick, sense) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.now = at
		s.meet()
		if s.now == sense {
			s.sense()
			sense += s.Every
		}
		if s.now < tick {
			continue
		}
		if err := s.reconfigure(); err != nil {
			return nil, err
		}
		d := s.pool.Decide(s.clock(), s.senses())
		s.meet()
		s.sample(&d)
		if d.TickEvery > 0 {
			every = d.TickEvery
		}
		tick = s.now + every
		if s.Length == 0 && s.work.over() {
			break
		}
	}
	if s.now < s.end && !(s.Length == 0 && s.work.over()) {
		s.now = s.end
		s.meet()
	}
	s.result.finish(s)
	return s.result, nil
}

// reconfigure makes the changes of the configuration that are due.
func (s *simulation) reconfigure() error {
	for len(s.Changes) > 0 && s.Changes[0].At <= s.now {
		if problems := s.pool.Reconfigure(s.Changes[0].Conf); problems != nil {
			return epu.E(epu.Invalid, "reconfigure", s.Policy.Name, policies.Problems(problems))
		}
		s.Changes = s.Changes[1:]
	}
	return nil
}

// meet lets pool and work do to each other what is due now: workers that are ready take work, and those that
// have none may go.
func (s *simulation) meet() {
	for range 3 {
		s.work.advance(s.now)
		s.pool.Advance(s.clock())
		s.pool.Settle(s.clock())
	}
}

func prepare(cfg Config) (*simulation, error) {
	if cfg.Tick <= 0 {
		cfg.Tick = 5 * time.Second
	}
	if cfg.Every <= 0 {
		cfg.Every = cfg.Tick
	}
	if cfg.JobLength == (Spread{}) {
		cfg.JobLength = Always(time.Minute)
	}
	if cfg.Notice <= 0 {
		cfg.Notice = 135 * time.Second
	}
	if cfg.Start.IsZero() {
		cfg.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if cfg.Limits == nil {
		l := DefaultLimits()
		cfg.Limits = &l
	}
	if cfg.Drain == nil {
		cfg.Drain = &epu.DrainSpec{Timeout: time.Hour, ProtectBusy: true}
	}
	if len(cfg.Placement) == 0 {
		cfg.Placement = []epu.Placement{{Site: "sim", Market: epu.OnDemand}}
	}
	s := &simulation{Config: cfg, end: cfg.Length, queue: map[string]string{}}
	if s.end == 0 {
		s.end = 2*cfg.Workload.Last() + day
	}
	if ticks := s.end / min(cfg.Tick, cfg.Every); ticks > ticksMax {
		return nil, fmt.Errorf("%d decisions are too many: at most %d; choose a longer tick", ticks, ticksMax)
	}
	if cfg.Workload.Flows != nil && cfg.JobLength.Mean() <= 0 {
		return nil, fmt.Errorf("pieces of a flow need a length")
	}
	conf, problems := cfg.Policy.Check(cfg.Conf)
	if problems != nil {
		return nil, epu.E(epu.Invalid, "configure", cfg.Policy.Name, policies.Problems(problems))
	}
	if err := s.readable(conf); err != nil {
		return nil, err
	}
	s.build(conf)
	return s, nil
}

// readable names the sensors, and refuses a policy that reads one which is not measured.
func (s *simulation) readable(conf map[string]any) error {
	known := map[string]bool{}
	var names []string
	for _, m := range Measures() {
		known[m[0]], s.queue[m[0]] = true, m[0]
		names = append(names, m[0])
	}
	for name, measure := range s.Sensors {
		if !known[measure] {
			return fmt.Errorf("sensor %s: nothing is called %q here; there are %s", name, measure, strings.Join(names, ", "))
		}
		s.queue[name] = measure
	}
	for _, p := range s.Policy.Params {
		name, ok := conf[p.Name].(string)
		if ok && p.Type == "sensor" && name != "" && s.queue[name] == "" {
			return fmt.Errorf("the policy reads the sensor %s (%s), which is not measured here: name one of %s, or say what it measures with --sensor %s=MEASURE", name, p.Name, strings.Join(names, ", "), name)
		}
	}
	return nil
}

// build makes the pool and the work. Each kind of chance has a source of its own, so that another length of
// jobs does not change how long workers boot.
func (s *simulation) build(conf map[string]any) {
	chance := func(kind uint64, of Spread) func() time.Duration {
		rng := rand.New(rand.NewPCG(s.Seed, kind))
		return func() time.Duration { return of.Draw(rng) }
	}
	world := World{Boot: chance(2, s.Boot), Notice: s.Notice, Charge: s.Charge}
	if s.Life != (Spread{}) {
		world.Life = chance(3, s.Life)
	}
	world.Price = func(epu.Placement) float64 { return s.Price }
	var jobs *jobQueue
	if s.Workload.Flows != nil {
		s.work = newFlowQueue(s.Workload, s.JobLength.Mean())
	} else {
		jobs = newJobQueue(s.Workload.Jobs, chance(4, s.JobLength), s.Start)
		s.work = jobs
	}
	s.pool = NewPool(PoolConfig{
		Policy: s.Policy, Conf: conf, Limits: *s.Limits, Placement: s.Placement, Drain: *s.Drain, World: world, Print: s.Print,
		Ready: func(id epu.WorkerID, _ time.Time) { s.work.ready(id) },
		Lost:  func(id epu.WorkerID, _ time.Time) { s.work.lost(id) },
	})
	if jobs != nil {
		jobs.pool = s.pool
	}
	specs := map[string]epu.SensorSpec{}
	for name := range s.queue {
		specs[name] = SensorDefaults(epu.SensorSpec{}, s.Every)
	}
	s.sensors = NewSensors(specs, s.Start)
	s.result = &Result{Label: cmp.Or(s.Label, s.Policy.Name), Policy: s.Policy.Name, Hash: s.Policy.Hash, Workload: s.Workload.Name, Seed: s.Seed}
	s.pool.Start(s.Workers, s.Start)
}

func (s *simulation) clock() time.Time { return s.Start.Add(s.now) }

// next is when something happens, at the latest the next decision.
func (s *simulation) next(tick, sense time.Duration) time.Duration {
	next := min(tick, sense)
	if at, some := s.work.next(); some && at > s.now {
		next = min(next, at)
	}
	if at := s.pool.Next(); !at.IsZero() && at.After(s.clock()) {
		next = min(next, at.Sub(s.Start))
	}
	return max(next, s.now+1)
}

// sense takes a reading of every sensor.
func (s *simulation) sense() {
	g, c := s.work.measure(), s.pool.Counts()
	running := float64(c.Running)
	perMinute := 0.0
	if gap := s.now - s.sensed; gap > 0 {
		perMinute = (g.arrived - s.before.arrived) / gap.Minutes()
	}
	values := map[string]float64{
		"queue-length": g.waiting, "jobs": g.waiting + g.working, "work-left": g.left, "arrivals-per-minute": perMinute,
		"jobs-per-worker": (g.waiting + g.working) / max(running, 1), "idle-workers": max(0, running-g.busy),
		"utilization": 0,
	}
	if running > 0 {
		values["utilization"] = min(100, 100*g.busy/running)
	}
	for name, measure := range s.queue {
		_ = s.sensors.Add(name, sensing.Point{Value: fine(values[measure])}, s.clock()) // finite, so it is taken
	}
	s.before, s.sensed = g, s.now
}

// senses is what the policy reads now.
func (s *simulation) senses() Senses {
	out := s.sensors.Senses(s.clock())
	if s.Deadline > 0 {
		left := out.Readings["jobs"]
		out.Work = epu.Work{Left: &left, Deadline: s.Start.Add(s.Deadline)}
	}
	return out
}

// sample keeps a decision and what is to be seen of its moment.
func (s *simulation) sample(d *epu.Decision) {
	r := s.result
	r.Series = append(r.Series, s.point())
	r.Totals.Decisions++
	if d.Error != "" {
		if r.Totals.Errors++; len(r.Errors) < errorsKept && !slices.Contains(r.Errors, d.Error) {
			r.Errors = append(r.Errors, d.Error)
		}
	}
	for _, name := range policies.SensorsRead(d.Inputs) {
		if s.queue[name] == "" && !slices.Contains(r.Unmeasured, name) {
			r.Unmeasured = append(r.Unmeasured, name)
		}
	}
	r.Totals.Alerts += len(d.Alerts)
	r.Totals.Clamped += len(d.Clamps)
}

// point is what is to be seen of this moment.
func (s *simulation) point() Point {
	g, c := s.work.measure(), s.pool.Counts()
	return Point{
		At: s.now.Seconds(), Demand: fine(s.work.demand()), Wish: s.pool.Wish().Target, Running: c.Running, Starting: c.Starting,
		Draining: c.Draining, Waiting: fine(g.waiting), Busy: fine(g.busy),
	}
}

// fine cuts off what is only the rounding of sums.
func fine(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// errorsKept is how many different errors of a policy a result names.
const errorsKept = 5
