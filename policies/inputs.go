package policies

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies/params"
)

// inputsMax bounds how many different things one decision can read.
const inputsMax = 200

// saw records something that the policy read. In a replay, what was not recorded can't be read.
func (h *host) saw(name string, value any) {
	if !h.snap.past.allows(name) {
		h.L.RaiseError("the record does not hold '%s', which is read now", name)
	}
	if !h.note(name, value) {
		h.L.RaiseError("read more than %d different things in one decision", inputsMax)
	}
}

// note records an input, the first time only, since the snapshot can't change.
func (h *host) note(name string, value any) bool {
	for i := range h.inputs {
		if h.inputs[i].Name == name {
			return true
		}
	}
	if len(h.inputs) >= inputsMax {
		return false
	}
	h.inputs = append(h.inputs, epu.Input{Name: name, Value: value})
	return true
}

// bitset is a set of small numbers.
type bitset []uint64

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// sized is an empty set for numbers below n, in the same memory where it suffices.
func (b bitset) sized(n int) bitset {
	n = (n + 63) / 64
	if cap(b) < n {
		return make(bitset, n)
	}
	b = b[:n]
	clear(b)
	return b
}

// visits is which workers of a snapshot were visited: one bit each, so that recording costs nothing
// to speak of for the policies that visit none.
type visits struct {
	on       bool
	all, bad bitset // places in Snapshot.Workers and Snapshot.Bad
}

func (v *visits) begin(s *Snapshot) {
	if !v.on {
		v.on = true
		v.all, v.bad = v.all.sized(len(s.Workers)), v.bad.sized(len(s.Bad))
	}
}

// Visited is the value of the input "workers": those workers that the policy looked at. As JSON it is
// a list with only what a policy can see of each.
type Visited struct {
	workers []*epu.Worker // shared with the snapshot; in its order
}

// Len is how many workers were visited.
func (v Visited) Len() int { return len(v.workers) }

// Visiting makes the value of workers that were all visited; they come oldest first.
func Visiting(workers []*epu.Worker) Visited { return Visited{workers: workers} }

// Workers are the visited workers, oldest first. They are shared: don't change them.
func (v Visited) Workers() []*epu.Worker { return v.workers }

func (v *visits) result(s *Snapshot) Visited {
	if v.all.count() == len(s.Workers) {
		return Visited{workers: s.Workers}
	}
	out := make([]*epu.Worker, 0, v.all.count()+v.bad.count())
	seen := map[epu.WorkerID]bool{}
	take := func(set bitset, from []*epu.Worker) {
		for i, word := range set {
			for ; word != 0; word &= word - 1 {
				w := from[i*64+bits.TrailingZeros64(word)]
				if !seen[w.ID] {
					seen[w.ID] = true
					out = append(out, w)
				}
			}
		}
	}
	take(v.all, s.Workers)
	take(v.bad, s.Bad)
	sort.Slice(out, func(i, j int) bool { return olderFirst(out[i], out[j]) })
	return Visited{workers: out}
}

func olderFirst(a, b *epu.Worker) bool {
	if !a.Created.Equal(b.Created) {
		return a.Created.Before(b.Created)
	}
	return a.ID < b.ID
}

// seenWorker is what a policy can see of a worker, as it is recorded.
type seenWorker struct {
	ID         epu.WorkerID      `json:"id"`
	Name       string            `json:"name,omitempty"`
	State      epu.State         `json:"state"`
	Health     epu.Health        `json:"health,omitempty"`
	Suspect    bool              `json:"suspect,omitempty"`
	Draining   bool              `json:"draining,omitempty"`
	Ended      bool              `json:"ended,omitempty"`
	Created    time.Time         `json:"created"`
	Site       epu.SiteID        `json:"site,omitempty"`
	Zone       string            `json:"zone,omitempty"`
	Allocation epu.Allocation    `json:"allocation,omitempty"`
	Market     epu.Market        `json:"market,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	IdleSince  time.Time         `json:"idle_since,omitzero"`
	BusyUntil  time.Time         `json:"busy_until,omitzero"`
	Protected  bool              `json:"protected,omitempty"`
	Asked      string            `json:"asked,omitempty"`
	AskedFrom  int32             `json:"asked_from,omitempty"`
	Price      float64           `json:"price,omitempty"`
	ChargeAt   time.Time         `json:"charge_at,omitzero"`
}

// MarshalJSON writes what a policy can see of each worker.
func (v Visited) MarshalJSON() ([]byte, error) {
	out := make([]seenWorker, len(v.workers))
	for i, w := range v.workers {
		out[i] = seenWorker{
			ID: w.ID, Name: w.Name, State: w.State, Health: w.Health, Suspect: w.Suspect, Draining: w.Draining,
			Ended: w.Ended, Created: w.Created, Site: w.Site, Zone: w.Zone, Allocation: w.Allocation,
			Market: w.Market, Vars: w.Vars, IdleSince: w.IdleSince, BusyUntil: w.BusyUntil,
			Protected: w.Protected, Asked: w.Asked, AskedFrom: w.AskedFrom, ChargeAt: w.ChargeAt,
		}
		if finite(w.Price) {
			out[i].Price = w.Price
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Visited) UnmarshalJSON(b []byte) error {
	var in []seenWorker
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	v.workers = make([]*epu.Worker, len(in))
	for i, w := range in {
		launch, slot, _ := w.ID.Parse()
		v.workers[i] = &epu.Worker{
			ID: w.ID, Launch: launch, Slot: slot, Name: w.Name, State: w.State, Health: w.Health, Suspect: w.Suspect,
			Draining: w.Draining, Ended: w.Ended, Created: w.Created, Site: w.Site, Zone: w.Zone,
			Allocation: w.Allocation, Market: w.Market, Vars: w.Vars, IdleSince: w.IdleSince, BusyUntil: w.BusyUntil,
			Protected: w.Protected, Asked: w.Asked, AskedFrom: w.AskedFrom, Price: w.Price, ChargeAt: w.ChargeAt,
		}
	}
	return nil
}

// readText says in one line what was read, for the error of a policy that failed.
func (h *host) readText() string {
	var parts []string
	for _, in := range h.inputs {
		if len(parts) == readShown {
			parts = append(parts, "...")
			break
		}
		switch v := in.Value.(type) {
		case nil:
			parts = append(parts, in.Name+" was nil: there is no reading")
		case epu.Reading:
			parts = append(parts, fmt.Sprintf("%s = %s (%s, %v old)", in.Name, params.NumberText(v.Value), v.Quality, v.Age))
		case epu.Window:
			parts = append(parts, fmt.Sprintf("%s = mean %s, last %s (%s, %s)", in.Name, params.NumberText(v.Mean), params.NumberText(v.Last), v.Quality, epu.Plural(v.Count, "reading")))
		case int, time.Duration:
			parts = append(parts, fmt.Sprintf("%s = %v", in.Name, v))
		case Visited:
			parts = append(parts, epu.Plural(v.Len(), "worker"))
		}
	}
	return strings.Join(parts, ", ")
}

// readShown is how many inputs an error names.
const readShown = 8

// inputHooks is the input that says which hooks ran.
const inputHooks = "hooks"

// hooks is the value of that input: what ran before decide in the same evaluation. The old
// configuration is that of the reconfigure hook.
type hooks struct {
	Initialize bool           `json:"initialize,omitempty"`
	Changed    []string       `json:"changed,omitempty"`
	Old        map[string]any `json:"old,omitempty"`
}

// RanHooks reports that initialize or reconfigure ran before a decision: once that is taken in, what they leave in
// the policy's memory does not come again.
func RanHooks(inputs []epu.Input) bool {
	return slices.ContainsFunc(inputs, func(in epu.Input) bool { return in.Name == inputHooks })
}

// Replay evaluates a recorded decision again, from nothing but its record: the same policy gives the
// same wish, reasons, actions and memory. It fails if the policy is another one, or reads what the
// record does not hold. A record of an evaluation that was stopped at its deadline can't be replayed,
// since time is no input: the result then is what the policy would have said.
func Replay(p *Policy, record epu.Decision) (epu.Decision, error) {
	if record.PolicyHash != p.Hash {
		return epu.Decision{}, epu.E(epu.Conflict, "replay", string(record.ID),
			fmt.Errorf("it was made by %s %s, this is %s %s", record.Policy, record.PolicyHash, p.Name, p.Hash))
	}
	snap, err := Recall(record)
	if err != nil {
		return epu.Decision{}, err
	}
	return Evaluate(p, Options{}, snap, record.Conf, nil), nil
}

// past is the part of a record that a snapshot has no place for.
type past struct {
	counted map[string]int
	offered map[string][]epu.Offer
	windows map[string]epu.Window
	known   map[string]bool
	given   map[string]bool // sensors that With has set
	conf    map[string]any
	hooks   hooks
}

// allows says whether something can be read: it was recorded, or is said by With.
func (p *past) allows(name string) bool {
	if p == nil || p.known[name] {
		return true
	}
	kind, of, _ := strings.Cut(name, " ")
	sensor, _, _ := strings.Cut(of, " ")
	return (kind == "sensor" || kind == "window") && p.given[sensor]
}

// count and offers are answers that only the record can give.
func (p *past) count(name string) (n int, known bool) {
	if p != nil {
		n, known = p.counted[name]
	}
	return n, known
}

func (p *past) offers(name string) (found []epu.Offer, known bool) {
	if p != nil {
		found, known = p.offered[name]
	}
	return found, known
}

// Recall is the snapshot behind a recorded decision, as far as its policy read it. What the record does not
// hold can't be read: a policy that tries fails.
func Recall(record epu.Decision) (*Snapshot, error) {
	p := &past{
		counted: map[string]int{}, offered: map[string][]epu.Offer{}, windows: map[string]epu.Window{}, known: map[string]bool{},
		conf: record.Conf,
	}
	s := &Snapshot{
		Now: record.Time, Pool: record.Pool, Owner: record.Owner, Decision: record.ID, Seed: record.Seed,
		Memory: record.MemoryBefore, Readings: map[string]epu.Reading{}, SiteBackoff: map[epu.SiteID]time.Duration{},
		Windows: func(sensor string, span time.Duration) (epu.Window, bool) {
			w, ok := p.windows[windowName(sensor, span)]
			return w, ok
		},
		past: p,
	}
	s.Wish.Target = record.Before
	for _, in := range record.Inputs {
		p.known[in.Name] = true
		b, err := json.Marshal(in.Value)
		if err == nil {
			err = p.take(s, in.Name, b)
		}
		if err != nil {
			return nil, epu.E(epu.Invalid, "recall", string(record.ID), fmt.Errorf("input %s: %w", in.Name, err))
		}
	}
	return s, nil
}

// take puts one recorded input where the host functions look for it.
func (p *past) take(s *Snapshot, name string, b []byte) error {
	into := map[string]any{
		"running": &s.Counts.Running, "starting": &s.Counts.Starting, "draining": &s.Counts.Draining,
		"unhealthy_count": &s.Counts.Unhealthy, "target": &s.Wish.Target, "wish": &s.Wish, "backoff": &s.Backoff,
		"refused": &s.Refused, "changes": &s.Changes, "work": &s.Work, "budget": &s.Budget, inputHooks: &p.hooks,
	}
	if place, ok := into[name]; ok {
		return json.Unmarshal(b, place)
	}
	switch name {
	case "workers":
		return takeWorkers(s, b)
	case "places":
		var v placing
		err := json.Unmarshal(b, &v)
		s.Places = v.Places
		for site, wait := range v.Backoff {
			s.SiteBackoff[site] = wait
		}
		return err
	}
	kind, of, _ := strings.Cut(name, " ")
	switch {
	case strings.HasPrefix(name, clockInput):
		return nil // it follows from the record's time
	case kind == "sensor":
		return unlessNull(b, s.Readings, of)
	case kind == "window":
		return unlessNull(b, p.windows, name)
	case kind == "backoff":
		return unlessNull(b, s.SiteBackoff, epu.SiteID(of))
	case strings.HasPrefix(name, "offers{"):
		return unlessNull(b, p.offered, name)
	}
	return unlessNull(b, p.counted, name)
}

func takeWorkers(s *Snapshot, b []byte) error {
	var v Visited
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	s.Workers = v.workers
	for _, w := range v.workers {
		if w.Unhealthy() {
			s.Bad = append(s.Bad, w)
		}
	}
	return nil
}

// unlessNull reads a value into a map; what was nil is not in it.
func unlessNull[K comparable, V any](b []byte, into map[K]V, key K) error {
	if string(b) == "null" {
		return nil
	}
	var v V
	err := json.Unmarshal(b, &v)
	into[key] = v
	return err
}

// SensorsRead are the sensors that an evaluation asked for, whether they had readings or not.
func SensorsRead(inputs []epu.Input) (names []string) {
	for _, in := range inputs {
		kind, name, _ := strings.Cut(in.Name, " ")
		if kind == "window" {
			name = name[:max(0, strings.LastIndexByte(name, ' '))] // its span follows
		}
		if (kind == "sensor" || kind == "window") && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
