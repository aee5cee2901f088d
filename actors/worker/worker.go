package worker

import (
	"slices"
	"strconv"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/lifecycle"
	"github.com/nimbus-epu/epu/actors/msg"
)

// errorsMax bounds the process errors that a worker's actor keeps for people.
const errorsMax = 10

// Core is the core of one worker's actor. It is volatile: health, errors and the busy lease come back
// with the next beat, so a restart loses nothing that matters. It tells its controller only what
// changed, and when to ask again. There are many, and most do well: what only troubled ones need is apart.
type Core struct {
	id         epu.WorkerID
	controller msg.Address
	vital      lifecycle.Vital // begins when the controller has told what it knows
	said       said
	busy, idle float64 // of the newest beat, in seconds
	trouble    *trouble
	talk       *talk
	ordered    uint32
	recounts   uint32 // as the controller said
	drained    bool   // of the newest beat
	asked      bool   // the controller waits for an answer
	ended      bool   // as the controller said
	draining   bool   // as the controller said
}

// said is the newest fact that the controller was told. Its error is with the trouble.
type said struct {
	busy, idle, next       lifecycle.Moment
	health                 int8 // an epu.Health
	any                    bool
	heard, silent, drained bool
}

// trouble is what people want to know of a worker that failed.
type trouble struct {
	errors []msg.ProcessReport
	at     []time.Time
	newest string // one line
	said   string // of it, to the controller
}

// talk is what an agent has not acknowledged, and its long poll.
type talk struct {
	orders  []msg.AgentCommand
	waiting msg.Address
	after   string
}

// New makes the core of a worker's actor.
func New(id epu.WorkerID, controller msg.Address) *Core {
	return &Core{id: id, controller: controller}
}

// At makes the core of the worker with that address, which is its controller's and its own ID.
func At(addr msg.Address) Core {
	for slashes, i := 0, len(addr)-1; i >= 0; i-- {
		if addr[i] == '/' {
			if slashes++; slashes == 2 { // a worker's ID has one of its own
				return Core{id: epu.WorkerID(addr[i+1:]), controller: addr[:i]}
			}
		}
	}
	return Core{id: epu.WorkerID(addr)}
}

// Handle takes in one message; send delivers what it leads to. It reports false for an unknown message.
// Messages are unpacked one call further down: the stack of a beat stays small, and beats are many.
func (w *Core) Handle(now time.Time, from msg.Address, m any, send func(msg.Address, any)) bool {
	switch m.(type) {
	case msg.BeatReceived:
		w.beaten(m)
		if from != "" {
			w.reply(from, send)
		}
	case msg.WatchWorker, msg.Look:
		w.watched(now, m)
	case msg.CommandsQuery:
		w.polled(from, m, send)
	case msg.WorkerQuery:
		send(from, w.view(now))
		return true
	case msg.ShiftTimes:
		w.forgive(now, m)
	default:
		return false
	}
	w.settle(now, send)
	return true
}

// watched takes over what the controller durably knows.
func (w *Core) watched(now time.Time, x any) {
	m, told := x.(msg.WatchWorker)
	if !told {
		m, w.asked = x.(msg.Look).Watch, true
	}
	if !w.vital.Begun() {
		w.vital = lifecycle.NewVital(m.Spec, m.Known, now)
		w.recounts = m.Recounts
	}
	if m.Recounts != w.recounts {
		w.recounts, w.asked = m.Recounts, true
		w.vital.Recount(now)
	}
	w.vital.Retune(m.Spec)
	if m.Running {
		w.vital.Running(now)
	}
	if m.Ended {
		w.vital.End(now)
		w.talking().orders = nil
	} else if m.Draining != w.draining {
		w.orderDrain(m.Draining)
		w.drained = false // a drain that was called back and ordered anew is not done with the old one
	}
	w.ended, w.draining = m.Ended, m.Draining
}

// forgive leaves out a span.
func (w *Core) forgive(now time.Time, m any) {
	if !w.vital.Begun() {
		return
	}
	w.vital.Shift(m.(msg.ShiftTimes).By, now)
	w.asked = true
}

// polled takes in a long poll; the one before it was given up.
func (w *Core) polled(from msg.Address, m any, send func(msg.Address, any)) {
	t := w.talking()
	if t.waiting != "" && t.waiting != from {
		w.reply(t.waiting, send)
	}
	t.waiting, t.after = from, m.(msg.CommandsQuery).After
}

func (w *Core) talking() *talk {
	if w.talk == nil {
		w.talk = &talk{}
	}
	return w.talk
}

// orderDrain orders a drain or its end; each makes the other void.
func (w *Core) orderDrain(on bool) {
	kind := "cancel-drain"
	if on {
		kind = "drain"
	}
	if w.pending(kind) {
		return
	}
	t := w.talking()
	t.orders = slices.DeleteFunc(slices.Clone(t.orders), func(o msg.AgentCommand) bool { return o.Kind != "beat" })
	w.order(kind)
}

// order adds a command. Commands are handed out again with every answer until a beat acknowledges them.
func (w *Core) order(kind string) {
	if w.pending(kind) {
		return
	}
	w.ordered++
	t := w.talking()
	t.orders = append(slices.Clone(t.orders), msg.AgentCommand{ID: kind + "-" + strconv.FormatUint(uint64(w.ordered), 10), Kind: kind})
}

func (w *Core) pending(kind string) bool {
	return w.talk != nil && slices.ContainsFunc(w.talk.orders, func(o msg.AgentCommand) bool { return o.Kind == kind })
}

// beaten takes in a heartbeat.
func (w *Core) beaten(x any) {
	m := x.(msg.BeatReceived)
	if !w.vital.Begun() || m.At.Before(w.vital.LastHeard()) {
		return
	}
	verdict := epu.HealthOK
	if m.Beat.State != "OK" || len(m.Beat.Failed) > 0 {
		verdict = w.failed(&m)
	}
	if w.talk != nil && len(w.talk.orders) > 0 {
		w.talk.orders = slices.DeleteFunc(slices.Clone(w.talk.orders), func(o msg.AgentCommand) bool {
			return o.Kind == "beat" || slices.Contains(m.Beat.Acked, o.ID)
		})
	}
	if !w.ended && m.Beat.Draining != w.draining {
		w.orderDrain(w.draining) // an agent that began anew has forgotten
	}
	w.vital.Beat(m.At, verdict)
	w.busy, w.idle, w.drained = m.Beat.BusyUntilSeconds, m.Beat.IdleSeconds, m.Beat.Drained
}

// failed takes in what a beat says of failures, and gives its verdict.
func (w *Core) failed(m *msg.BeatReceived) epu.Health {
	if w.trouble == nil {
		w.trouble = &trouble{}
	}
	t := w.trouble
	for _, f := range m.Beat.Failed {
		t.errors = append(t.errors, f)
		t.at = append(t.at, m.At.Add(-time.Duration(f.AgeSeconds*float64(time.Second))))
		t.newest = describeFailure(f)
	}
	if extra := len(t.errors) - errorsMax; extra > 0 {
		t.errors, t.at = t.errors[extra:], t.at[extra:]
	}
	switch m.Beat.State {
	case "PROCESS_ERROR":
		return epu.ProcessError
	case "MONITOR_ERROR":
		t.newest = m.Beat.Error
		return epu.MonitorError
	}
	return epu.HealthOK
}

func describeFailure(f msg.ProcessReport) string {
	switch {
	case f.Error != "":
		return f.Program + ": " + f.Error
	case f.Signal != "":
		return f.Program + " was ended by signal " + f.Signal
	}
	return f.Program + " exited with status " + strconv.Itoa(f.ExitStatus)
}

// reply answers a beat or a poll.
func (w *Core) reply(to msg.Address, send func(msg.Address, any)) {
	orders := msg.AgentOrders{Gone: w.ended}
	if w.talk != nil {
		orders.Commands = w.talk.orders
	}
	send(to, orders)
}

// settle judges silence, tells the controller what changed and answers a waiting poll.
func (w *Core) settle(now time.Time, send func(msg.Address, any)) {
	if !w.vital.Begun() {
		return
	}
	health := w.vital.Look(now)
	if health == epu.OutOfContact && epu.Health(w.said.health) != epu.OutOfContact {
		w.order("beat")
	}
	fact := said{
		any: true, health: int8(health), heard: !w.vital.LastHeard().IsZero(), silent: w.vital.Silent(now),
		drained: w.draining && w.drained, next: w.vital.Next(now),
	}
	problem := ""
	if w.trouble != nil && (health == epu.ProcessError || health == epu.MonitorError) {
		problem = w.trouble.newest
	}
	w.lease(now, &fact)
	if w.asked || w.changed(&fact, problem) {
		w.tell(now, fact, problem, send)
	}
	if t := w.talk; t != nil && t.waiting != "" && (w.ended || len(t.orders) > 0 && t.orders[len(t.orders)-1].ID != t.after) {
		w.reply(t.waiting, send)
		t.waiting = ""
	}
}

func (w *Core) tell(now time.Time, f said, problem string, send func(msg.Address, any)) {
	w.said, w.asked = f, false
	if w.trouble != nil {
		w.trouble.said = problem
	}
	send(w.controller, msg.WorkerFact{
		Worker: w.id, At: now, Health: epu.Health(f.health), Error: problem, Heard: f.heard, Silent: f.silent,
		Drained: f.drained, Busy: w.time(now, f.busy), Idle: w.time(now, f.idle), Next: w.time(now, f.next),
	})
}

// time is a moment by the node's present clock, which may have been set since the worker's life began.
func (w *Core) time(now time.Time, m lifecycle.Moment) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return now.Add(w.vital.Time(m).Sub(now))
}

// idleSlack is how far the begin of an idle time may wander with rounding and delay and still be the same.
const idleSlack = 5 * time.Second

// lease works out until when the worker is busy and since when it is idle. What was said before stands
// while it is near enough: a beat that merely renews a lease is no news to the controller.
func (w *Core) lease(now time.Time, f *said) {
	heard := w.vital.LastHeard()
	if w.busy > 0 {
		f.busy = w.vital.Moment(heard.Add(time.Duration(w.busy * float64(time.Second))))
		at, was := w.vital.Moment(now), w.said.busy
		if was != 0 && f.busy >= was && 2*(was-at) > f.busy-at {
			f.busy = was
		}
	}
	if w.idle > 0 {
		f.idle = w.vital.Moment(heard.Add(-time.Duration(w.idle * float64(time.Second))))
		if was := w.said.idle; was != 0 && time.Duration(f.idle-was).Abs() < idleSlack {
			f.idle = was
		}
	}
}

// changed reports that the controller must hear of a fact. A next deadline that merely moved later with
// a beat is no news: the one it knows comes first, and it asks again then.
func (w *Core) changed(f *said, problem string) bool {
	old := w.said
	if old.next != 0 && f.next >= old.next {
		old.next = f.next
	}
	return *f != old || w.trouble != nil && problem != w.trouble.said
}

func (w *Core) view(now time.Time) msg.WorkerView {
	v := msg.WorkerView{Worker: w.id}
	if t := w.trouble; t != nil {
		v.Errors, v.ErrorsAt = slices.Clone(t.errors), slices.Clone(t.at)
	}
	if w.vital.Begun() {
		v.LastHeard = w.time(now, w.vital.Moment(w.vital.LastHeard()))
	}
	return v
}
