package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// Cloud is a simulated cloud; it implements iaas.Provider. All its calls return at once. With one
// caller it is deterministic; with several it is safe, and as deterministic as their order.
type Cloud struct {
	seed  uint64
	clock func() time.Time
	opts  Options

	mu     sync.Mutex // guards all below: unlike an actor's state, a provider is called from many goroutines
	dice   dice       // for what belongs to a call and not to a machine
	all    []*machine // in order of birth
	listed []*machine // without those that vanished from listings for ever
	byID   map[epu.InstanceID]*machine
	tokens map[epu.Token]*order
	caps   map[Place]int
	outage bool
	calls  map[string]int
	bucket float64 // calls left before throttling
	filled time.Time
}

// order is what became of one token.
type order struct {
	digest   string
	machines []*machine
	calls    int
}

// New makes a cloud whose time is clock's. The clock must not go back.
func New(seed uint64, clock func() time.Time, opts Options) *Cloud {
	c := &Cloud{
		seed: seed, clock: clock, opts: opts,
		dice:   dice{state: seed},
		byID:   map[epu.InstanceID]*machine{},
		tokens: map[epu.Token]*order{},
		caps:   map[Place]int{},
		calls:  map[string]int{},
		bucket: float64(opts.CallBurst),
		filled: clock(),
	}
	for p, n := range opts.Capacity {
		c.caps[p] = n
	}
	return c
}

var _ iaas.Provider = (*Cloud)(nil)

// Launch implements iaas.Provider.
func (c *Cloud) Launch(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	lost, err := c.admit(ctx, "launch", string(req.Token), now)
	if err != nil && !lost {
		return nil, err
	}
	got, failed := c.launch(req, now)
	if failed == nil && err != nil {
		return nil, err
	}
	return got, failed
}

func (c *Cloud) launch(req iaas.LaunchRequest, now time.Time) ([]iaas.Instance, error) {
	if err := iaas.Refusal(req.Token, c.problems(req)); err != nil {
		return nil, err
	}
	digest := req.Digest()
	o := c.tokens[req.Token]
	if o == nil {
		zone, n, err := c.room(req, now)
		if err != nil {
			return nil, err
		}
		o = &order{digest: digest}
		c.tokens[req.Token] = o
		for slot := range n {
			m := c.born(req, zone, slot, len(c.all), now)
			o.machines = append(o.machines, m)
			c.all = append(c.all, m)
			c.listed = append(c.listed, m)
			c.byID[m.ID] = m
		}
	}
	o.calls++
	if o.digest != digest {
		return nil, epu.E(epu.Conflict, "launch", string(req.Token), errors.New("the token was used with another request"))
	}
	dead := !slices.ContainsFunc(o.machines, func(m *machine) bool { return m.endsAfter(now) })
	if dead && c.conflictWhenDead(req.Token) {
		return nil, epu.E(epu.Conflict, "launch", string(req.Token), errors.New("all machines of the token are terminated"))
	}
	out := make([]iaas.Instance, len(o.machines))
	for i, m := range o.machines {
		out[i] = m.shownAt(now)
	}
	return out, nil
}

func (c *Cloud) conflictWhenDead(t epu.Token) bool {
	switch c.opts.DeadTokens {
	case DeadTokenConflict:
		return true
	case DeadTokenEither:
		return keyed(c.seed, "dead", string(t)).chance(0.5)
	}
	return false
}

// List implements iaas.Provider.
func (c *Cloud) List(ctx context.Context, req iaas.ListRequest) ([]iaas.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if _, err := c.admit(ctx, "list", "machines", now); err != nil {
		return nil, err
	}
	c.listed = slices.DeleteFunc(c.listed, func(m *machine) bool {
		return !m.endsAfter(now.Add(-c.opts.Linger))
	})
	var out []iaas.Instance
	for _, m := range c.listed {
		if !req.Matches(m.Instance) {
			continue
		}
		if seen := now.Add(-c.lag()); !m.Launched.After(seen) {
			out = append(out, m.shownAt(seen))
		}
	}
	return out, nil
}

// lag is how old one machine's part of one listing is: half of the time not at all.
func (c *Cloud) lag() time.Duration {
	if c.opts.Visibility <= 0 || c.dice.chance(0.5) {
		return 0
	}
	return time.Duration(c.dice.float() * float64(c.opts.Visibility))
}

// Terminate implements iaas.Provider.
func (c *Cloud) Terminate(ctx context.Context, ids []epu.InstanceID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	lost, err := c.admit(ctx, "terminate", fmt.Sprintf("%d machines", len(ids)), now)
	if err != nil && !lost {
		return err
	}
	for _, id := range ids {
		if m := c.byID[id]; m != nil && m.askedAt.IsZero() && m.endsAfter(now) {
			m.askedAt = now
			m.doneAt = now.Add(keyed(c.seed, "end", string(id)).within(c.opts.Ending))
		}
	}
	return err
}

// Validate implements iaas.Provider.
func (c *Cloud) Validate(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Problem, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.admit(ctx, "validate", string(req.Token), c.clock()); err != nil {
		return nil, err
	}
	return c.problems(req), nil
}

// admit counts a call and says whether it gets through. With lost set the call is carried out and the
// error is its answer.
func (c *Cloud) admit(ctx context.Context, op, on string, now time.Time) (lost bool, err error) {
	c.calls[op]++
	writes := op == "launch" || op == "terminate"
	if ctx.Err() != nil {
		kind := epu.Transient
		if writes {
			kind = epu.UnknownOutcome
		}
		return writes && c.dice.chance(0.5), epu.E(kind, op, on, context.Cause(ctx))
	}
	if c.outage {
		return false, epu.E(epu.Transient, op, on, errors.New("the cloud is out of order"))
	}
	if c.opts.CallBurst > 0 {
		c.bucket = min(float64(c.opts.CallBurst), c.bucket+now.Sub(c.filled).Seconds()*c.opts.CallPerSecond)
		c.filled = now
		if c.bucket < 1 {
			return false, epu.E(epu.Throttled, op, on, errors.New("rate of calls exceeded"))
		}
		c.bucket--
	}
	for _, f := range c.opts.Failures {
		if hit := c.dice.chance(f.P); !hit || f.Op != op && f.Op != "" || op == "validate" {
			continue
		}
		if f.Kind == epu.UnknownOutcome {
			return c.dice.chance(0.5), epu.E(f.Kind, op, on, errors.New("the connection was lost"))
		}
		return false, epu.E(f.Kind, op, on, fmt.Errorf("the cloud answered: %s", f.Kind))
	}
	return false, nil
}
