package faulty

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
)

// Fault is what happens to one call. The zero value is no fault. Before wins over Late, Late over the
// others.
type Fault struct {
	Before error // the request never arrives, and this is the caller's answer
	After  error // the call is carried out, and this takes the place of its answer
	Twice  bool  // the request arrives twice, one after the other; the caller hears the second answer

	// Late keeps the request on its way: the caller gets UnknownOutcome (a read: Transient) at once, and
	// the call stays in InFlight until the test delivers or drops it.
	Late bool

	// Hold, if set, is awaited before anything else; its error is the caller's answer. It makes a call slow.
	Hold func(ctx context.Context) error
}

// Lost is an error for Fault.Before and Fault.After of calls that change something: the caller can't
// know whether it was done.
func Lost(op string) error {
	return epu.E(epu.UnknownOutcome, op, "", errors.New("no answer before the deadline"))
}

// Call is one that is still on its way.
type Call struct {
	Seq int    // counts late calls from 1
	Op  string // "launch", "list", "terminate", "offers", "notices" or "validate"
	On  string // the token of a launch, the first machine of a termination
	run func()
}

// Provider is a provider behind a bad network. It is safe for many goroutines if decide is.
type Provider struct {
	next   iaas.Provider
	decide func(op string) Fault

	mu   sync.Mutex // guards seq and late
	seq  int
	late []Call
}

var _ iaas.Provider = (*Provider)(nil)

// New puts faults between callers and p. decide is called once per call, with its operation.
func New(p iaas.Provider, decide func(op string) Fault) *Provider {
	return &Provider{next: p, decide: decide}
}

// InFlight lists the late calls in the order in which they were made.
func (p *Provider) InFlight() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.late)
}

// Deliver lets a late call take effect now; its answer goes nowhere. It reports whether there was one.
func (p *Provider) Deliver(seq int) bool {
	c, ok := p.take(seq)
	if ok {
		c.run()
	}
	return ok
}

// Drop loses a late call for good. It reports whether there was one.
func (p *Provider) Drop(seq int) bool {
	_, ok := p.take(seq)
	return ok
}

func (p *Provider) take(seq int) (Call, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.late, func(c Call) bool { return c.Seq == seq })
	if i < 0 {
		return Call{}, false
	}
	c := p.late[i]
	p.late = slices.Delete(p.late, i, i+1)
	return c, true
}

// through carries one call to the cloud, or not. A function and not a method, for its answer's type.
func through[T any](ctx context.Context, p *Provider, op, on string, do func(context.Context) (T, error)) (T, error) {
	var none T
	f := p.decide(op)
	if f.Hold != nil {
		if err := f.Hold(ctx); err != nil {
			return none, err
		}
	}
	switch {
	case f.Before != nil:
		return none, f.Before
	case f.Late:
		p.mu.Lock()
		p.seq++
		late := context.WithoutCancel(ctx) // the caller's deadline does not stop what is under way
		p.late = append(p.late, Call{Seq: p.seq, Op: op, On: on, run: func() { _, _ = do(late) }})
		p.mu.Unlock()
		kind := epu.Transient
		if op == "launch" || op == "terminate" {
			kind = epu.UnknownOutcome
		}
		return none, epu.E(kind, op, on, errors.New("no answer before the deadline"))
	}
	if f.Twice {
		_, _ = do(ctx)
	}
	got, err := do(ctx)
	if f.After != nil {
		return none, f.After
	}
	return got, err
}

// Launch implements iaas.Provider.
func (p *Provider) Launch(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Instance, error) {
	return through(ctx, p, "launch", string(req.Token), func(ctx context.Context) ([]iaas.Instance, error) {
		return p.next.Launch(ctx, req)
	})
}

// List implements iaas.Provider.
func (p *Provider) List(ctx context.Context, req iaas.ListRequest) ([]iaas.Instance, error) {
	return through(ctx, p, "list", "", func(ctx context.Context) ([]iaas.Instance, error) {
		return p.next.List(ctx, req)
	})
}

// Terminate implements iaas.Provider.
func (p *Provider) Terminate(ctx context.Context, ids []epu.InstanceID) error {
	ids = slices.Clone(ids) // the caller may reuse its slice before a late call is delivered
	on := ""
	if len(ids) > 0 {
		on = string(ids[0])
	}
	_, err := through(ctx, p, "terminate", on, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.next.Terminate(ctx, ids)
	})
	return err
}

// Offers implements iaas.Provider.
func (p *Provider) Offers(ctx context.Context) ([]iaas.Offer, error) {
	return through(ctx, p, "offers", "", p.next.Offers)
}

// Notices implements iaas.Provider.
func (p *Provider) Notices(ctx context.Context) ([]iaas.Notice, error) {
	return through(ctx, p, "notices", "", p.next.Notices)
}

// Validate implements iaas.Provider.
func (p *Provider) Validate(ctx context.Context, req iaas.LaunchRequest) ([]iaas.Problem, error) {
	return through(ctx, p, "validate", string(req.Token), func(ctx context.Context) ([]iaas.Problem, error) {
		return p.next.Validate(ctx, req)
	})
}
