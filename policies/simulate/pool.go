package simulate

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
	"github.com/nimbus-epu/epu/policies"
)

// PoolID is the name of every simulated pool.
const PoolID epu.PoolID = "epu-sim"

// World says how the modelled surroundings of a pool behave. The functions are asked once per worker;
// a nil one gives 0.
type World struct {
	Boot   func() time.Duration // from the launch of a worker until it runs
	Life   func() time.Duration // from then until it fails; 0 = never
	Notice time.Duration        // from a failure until it is known
	Drain  time.Duration        // from the drain of an idle worker until it may be ended
	Charge time.Duration        // workers are charged for whole periods of this length; 0 = by the second
	Price  func(epu.Placement) float64
}

// PoolConfig is what a simulated pool is made of.
type PoolConfig struct {
	Policy    *policies.Policy
	Conf      map[string]any // from Policy.Check
	Limits    epu.Limits
	Placement []epu.Placement // at least one
	Drain     epu.DrainSpec   // Timeout 0 = wait for ever
	World     World
	Print     func(line string)             // takes what the policy prints; nil drops it
	Audit     func(epu.Decision)            // is shown each decision as the policy made it, before the guard rails; nil = nobody
	Ready     func(epu.WorkerID, time.Time) // is told when a worker can take work; nil = nobody
	Lost      func(epu.WorkerID, time.Time) // is told when one stops working: it failed or was ended; nil = nobody
}

// DefaultLimits are the guard rails of a pool whose file says nothing about them, without a maximum.
func DefaultLimits() epu.Limits {
	return epu.Limits{
		Max: -1, InFlight: 50,
		Launches: epu.Count{N: 100, Window: 10 * time.Minute}, Terminations: epu.Count{Window: 10 * time.Minute},
	}
}

// Tally counts what happened to the workers of a pool.
type Tally struct {
	Launches     int `json:"launches"`     // workers
	Terminations int `json:"terminations"` // workers, for whatever reason
	Drains       int `json:"drains"`
	Failures     int `json:"failures"` // workers that failed by themselves
}

// Pool is a controller's pool without its surroundings: it asks the policy, holds the wish against the
// guard rails, and carries out what reconcile answers, as actors.Controller does. It has no clock: all
// times are arguments and never go back. It belongs to one goroutine.
type Pool struct {
	cfg     PoolConfig
	engine  *policies.Engine
	conf    map[string]any
	byID    map[epu.WorkerID]*epu.Worker // not gone; replaced, never changed
	order   []*epu.Worker                // what workers was, with what came later; may hold old values
	workers []*epu.Worker                // the same, sorted by Created then ID; of before the last change while stale
	counts  policies.Counts
	bad     []*epu.Worker
	stale   bool // workers, counts and bad are of before the last change
	agenda  agenda
	overdue map[epu.WorkerID]reconcile.Overdue
	changes []epu.Change

	wish     epu.Wish
	memory   []byte
	refused  []epu.Reason
	tally    Tally
	launched []time.Time // of each worker, within limits.launches' window
	ended    []time.Time // of each end that counts, within limits.terminations' window
	paid     Bill        // of those that are gone
	seq      uint64      // of launches
	step     uint64      // of decisions
	dirty    bool
	until    time.Time // a limit may allow more then
	decided  bool
}

// NewPool makes a pool without workers.
func NewPool(cfg PoolConfig) *Pool {
	return &Pool{
		cfg: cfg, conf: cfg.Conf, byID: map[epu.WorkerID]*epu.Worker{}, overdue: map[epu.WorkerID]reconcile.Overdue{},
		engine: policies.NewEngine(cfg.Policy, policies.Options{Print: cfg.Print}),
	}
}

// Close lets go of the policy's Lua state.
func (p *Pool) Close() { p.engine.Close() }

// Restart lets the controller start anew: the policy keeps its memory and nothing else.
func (p *Pool) Restart() {
	p.engine.Close()
	p.engine = policies.NewEngine(p.cfg.Policy, policies.Options{Print: p.cfg.Print})
}

// Reconfigure changes the configuration as an operator does; with problems nothing changes.
func (p *Pool) Reconfigure(changes map[string]any) []policies.Problem {
	merged, _, problems := p.cfg.Policy.Reconfigure(p.conf, changes)
	if problems == nil {
		p.conf = merged
	}
	return problems
}

// Workers are the workers that are not gone, oldest first. They are immutable and so is the slice.
func (p *Pool) Workers() []*epu.Worker {
	p.sum()
	return p.workers
}

// Counts sums the workers up.
func (p *Pool) Counts() policies.Counts {
	p.sum()
	return p.counts
}

// Wish is what is in force, after the guard rails.
func (p *Pool) Wish() epu.Wish { return p.wish }

// Tally counts what has happened so far.
func (p *Pool) Tally() Tally { return p.tally }

// Senses are the readings of one moment, as a controller's sensors give them.
type Senses struct {
	Readings map[string]epu.Reading
	Windows  func(sensor string, span time.Duration) (epu.Window, bool)
	Work     epu.Work
}

// Decide asks the policy, holds its wish against the guard rails and carries out what follows. The
// decision has its clamps, what was refused and all actions, as the daemon records it.
func (p *Pool) Decide(now time.Time, senses Senses) epu.Decision {
	p.charges(now)
	p.sum()
	p.step++
	id := epu.DecisionID(fmt.Sprintf("decision-%06d", p.step))
	changes := p.changes
	if len(changes) > policies.ChangesMax {
		changes = changes[len(changes)-policies.ChangesMax:]
	}
	d := p.engine.Decide(&policies.Snapshot{
		Now: now, Pool: PoolID, Owner: epu.DefaultOwner, Decision: id, Seed: seedOf(id), Wish: p.wish, Memory: p.memory,
		Counts: p.counts, Workers: p.Workers(), Bad: p.bad, Readings: senses.Readings, Refused: p.refused,
		MinMax: [2]int{p.cfg.Limits.Min, p.cfg.Limits.Max}, Windows: senses.Windows, Changes: changes, Work: senses.Work,
		Places: p.cfg.Placement, Budget: p.budget(), Offers: p.offers(),
	}, p.conf)
	p.changes = nil
	if p.cfg.Audit != nil {
		p.cfg.Audit(d)
	}
	if d.Error == "" {
		rails := reconcile.Rails{
			Limits: p.cfg.Limits, Workers: p.Workers(), Before: p.wish.Target, Open: p.counts.Open(), Budget: p.budget(),
			Places: p.cfg.Placement, Offers: p.offers(),
		}
		rails.Guard(&d)
	}
	asked := d.Actions
	if d.Error != "" {
		d.Wish = p.wish
	} else {
		p.wish, p.memory, p.dirty, p.decided = d.Wish, d.MemoryAfter, true, true
	}
	var refused []epu.Reason
	if len(asked) > 0 {
		refused = p.act(now, d.ID, asked)
	}
	done, more := p.Settle(now)
	d.Actions, d.Rejected = slices.Concat(asked, done), slices.Concat(refused, more)
	p.refused = d.Rejected
	return d
}

// Settle brings the workers in step with the wish, as far as the guard rails allow now. It does nothing
// when nothing has changed since it last did.
func (p *Pool) Settle(now time.Time) (done []epu.Action, refused []epu.Reason) {
	if !p.until.IsZero() && !now.Before(p.until) {
		p.dirty, p.until = true, time.Time{}
	}
	for pass := 0; pass < passesMax && p.dirty && p.decided; pass++ {
		plan := reconcile.Actions(p.reality(now))
		p.dirty = false
		done = append(done, plan.Actions()...)
		p.carryOut(now, &plan)
		p.refused, p.until = plan.Refused, plan.Until
		if !plan.Empty() {
			p.dirty = true
		}
	}
	return done, p.refused
}

// passesMax bounds how often one moment may lead to actions that make further ones possible.
const passesMax = 4

func (p *Pool) reality(now time.Time) reconcile.Input {
	p.launched = within(p.launched, now, p.cfg.Limits.Launches.Window)
	p.ended = within(p.ended, now, p.cfg.Limits.EndsKept())
	return reconcile.Input{
		Now: now, Wish: p.wish, Workers: p.Workers(), Limits: p.cfg.Limits, Placement: p.cfg.Placement, DrainTo: true,
		Busy:    p.cfg.Drain.ProtectBusy,
		Overdue: p.overdue, Launched: used(p.launched, p.cfg.Limits.Launches.Window),
		Ended: used(within(p.ended, now, p.cfg.Limits.Terminations.Window), p.cfg.Limits.Terminations.Window),
		Lost:  used(within(p.ended, now, p.cfg.Limits.Loss.Window), p.cfg.Limits.Loss.Window),
	}
}

// within drops the stamps that have left a window; they are in order.
func within(stamps []time.Time, now time.Time, window time.Duration) []time.Time {
	i := 0
	for i < len(stamps) && now.Sub(stamps[i]) > window {
		i++
	}
	return stamps[i:]
}

func used(stamps []time.Time, window time.Duration) reconcile.Used {
	if len(stamps) == 0 {
		return reconcile.Used{}
	}
	return reconcile.Used{N: len(stamps), Next: stamps[0].Add(window + 1)}
}

// carryOut does what a plan says.
func (p *Pool) carryOut(now time.Time, plan *reconcile.Plan) {
	for _, w := range plan.Resumes {
		p.drain(now, w.ID, false, false)
	}
	for _, e := range plan.Ends {
		p.end(now, e.Worker.ID, e.Limited)
	}
	for _, w := range plan.Drains {
		p.drain(now, w.ID, true, false)
	}
	for _, l := range plan.Launches {
		p.launch(now, l)
	}
}

// act carries out what a policy asks to be done once, as far as the guard rails let it.
func (p *Pool) act(now time.Time, decision epu.DecisionID, actions []epu.Action) []epu.Reason {
	deeds := reconcile.Asked(p.reality(now), decision, actions, p.find)
	for _, e := range deeds.Ends {
		p.end(now, e.Worker.ID, e.Limited)
	}
	for _, d := range deeds.Drains {
		p.drain(now, d.Worker.ID, true, true)
		if d.Limited {
			p.ended = append(p.ended, now)
		}
	}
	for _, w := range deeds.Resumes {
		p.drain(now, w.ID, false, false)
	}
	for _, l := range deeds.Launches {
		p.launch(now, l)
	}
	return deeds.Refused
}

func seedOf(id epu.DecisionID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
