package actors

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

// Worker is the core of one worker's actor. It is volatile: health, errors and the busy lease come back
// with the next beat, so a restart loses nothing that matters. It tells its controller only what
// changed, and when to ask again.
type Worker struct {
	id         epu.WorkerID
	controller msg.Address
	vital      *lifecycle.Vital
	watch      msg.WatchWorker
	said       msg.WorkerFact
	beat       msg.Beat // newest
	errors     []msg.ProcessReport
	errorsAt   []time.Time
	newest     string             // newest error, one line
	orders     []msg.AgentCommand // not acknowledged
	ordered    uint64
	asked      bool        // the controller waits for an answer
	waiting    msg.Address // of the agent's long poll
	waitAfter  string
}

// NewWorker makes the core of a worker's actor.
func NewWorker(id epu.WorkerID, controller msg.Address) *Worker {
	return &Worker{id: id, controller: controller}
}

// Handle takes in one message; send delivers what it leads to. It reports false for an unknown message.
func (w *Worker) Handle(now time.Time, from msg.Address, m any, send func(msg.Address, any)) bool {
	switch m := m.(type) {
	case msg.WatchWorker:
		w.watched(now, m)
	case msg.BeatReceived:
		w.beaten(m)
		send(from, w.answer())
	case msg.CommandsQuery:
		if w.waiting != "" && w.waiting != from { // the poll before it was given up
			send(w.waiting, w.answer())
		}
		w.waiting, w.waitAfter = from, m.After
	case msg.WorkerQuery:
		send(from, w.view())
		return true
	case msg.Look:
		w.watched(now, m.Watch)
		w.asked = true
	case msg.ShiftTimes:
		if w.vital != nil {
			w.vital.Shift(m.By, now)
		}
	case msg.RecountSilence:
		if w.vital != nil {
			w.vital.Recount(now)
		}
	default:
		return false
	}
	w.settle(now, send)
	return true
}

// watched takes over what the controller durably knows.
func (w *Worker) watched(now time.Time, m msg.WatchWorker) {
	if w.vital == nil {
		w.vital = lifecycle.NewVital(m.Spec, m.Known, now)
	}
	if m.Spec != w.watch.Spec {
		w.vital.Retune(m.Spec)
	}
	if m.Running {
		w.vital.Running(now)
	}
	if m.Ended {
		w.vital.End(now)
		w.orders = nil
	}
	if was := w.watch.Draining; !m.Ended && m.Draining != was {
		w.orderDrain(m.Draining)
	}
	w.watch = m
}

// orderDrain orders a drain or its end; each makes the other void.
func (w *Worker) orderDrain(on bool) {
	kind := "cancel-drain"
	if on {
		kind = "drain"
	}
	if w.pending(kind) {
		return
	}
	w.orders = slices.DeleteFunc(slices.Clone(w.orders), func(o msg.AgentCommand) bool { return o.Kind != "beat" })
	w.order(kind)
}

// order adds a command. Commands are handed out again with every answer until a beat acknowledges them.
func (w *Worker) order(kind string) {
	if w.pending(kind) {
		return
	}
	w.ordered++
	w.orders = append(slices.Clone(w.orders), msg.AgentCommand{ID: kind + "-" + strconv.FormatUint(w.ordered, 10), Kind: kind})
}

func (w *Worker) pending(kind string) bool {
	return slices.ContainsFunc(w.orders, func(o msg.AgentCommand) bool { return o.Kind == kind })
}

// beaten takes in a heartbeat.
func (w *Worker) beaten(m msg.BeatReceived) {
	if w.vital == nil || m.At.Before(w.vital.LastHeard()) {
		return
	}
	verdict := epu.HealthOK
	switch m.Beat.State {
	case "PROCESS_ERROR":
		verdict = epu.ProcessError
	case "MONITOR_ERROR":
		verdict, w.newest = epu.MonitorError, m.Beat.Error
	}
	for _, f := range m.Beat.Failed {
		w.errors = append(w.errors, f)
		w.errorsAt = append(w.errorsAt, m.At.Add(-time.Duration(f.AgeSeconds*float64(time.Second))))
		w.newest = describeFailure(f)
	}
	if extra := len(w.errors) - errorsMax; extra > 0 {
		w.errors, w.errorsAt = w.errors[extra:], w.errorsAt[extra:]
	}
	w.orders = slices.DeleteFunc(slices.Clone(w.orders), func(o msg.AgentCommand) bool {
		return o.Kind == "beat" || slices.Contains(m.Beat.Acked, o.ID)
	})
	if !w.watch.Ended && m.Beat.Draining != w.watch.Draining {
		w.orderDrain(w.watch.Draining) // an agent that began anew has forgotten
	}
	w.vital.Beat(m.At, verdict)
	w.beat = m.Beat
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

// answer is what the agent gets for a beat or a poll.
func (w *Worker) answer() msg.AgentOrders {
	return msg.AgentOrders{Gone: w.watch.Ended, Commands: w.orders}
}

// settle judges silence, tells the controller what changed and answers a waiting poll.
func (w *Worker) settle(now time.Time, send func(msg.Address, any)) {
	if w.vital == nil {
		return
	}
	before := w.said.Health
	health := w.vital.Look(now)
	if health == epu.OutOfContact && before != epu.OutOfContact {
		w.order("beat")
	}
	fact := msg.WorkerFact{
		Worker: w.id, At: now, Health: health, Heard: !w.vital.LastHeard().IsZero(), Silent: w.vital.Silent(now),
		Drained: w.watch.Draining && w.beat.Drained, Next: w.vital.Next(now),
	}
	if health == epu.ProcessError || health == epu.MonitorError {
		fact.Error = w.newest
	}
	w.lease(now, &fact)
	if w.asked || w.changed(fact) {
		w.said, w.asked = fact, false
		send(w.controller, fact)
	}
	if w.waiting != "" && (w.watch.Ended || len(w.orders) > 0 && w.orders[len(w.orders)-1].ID != w.waitAfter) {
		send(w.waiting, w.answer())
		w.waiting = ""
	}
}

// idleSlack is how far the begin of an idle time may wander with rounding and delay and still be the same.
const idleSlack = 5 * time.Second

// lease works out until when the worker is busy and since when it is idle. What was said before stands
// while it is near enough: a beat that merely renews a lease is no news to the controller.
func (w *Worker) lease(now time.Time, f *msg.WorkerFact) {
	heard := w.vital.LastHeard()
	if s := w.beat.BusyUntilSeconds; s > 0 {
		f.Busy = heard.Add(time.Duration(s * float64(time.Second)))
		if was := w.said.Busy; !f.Busy.Before(was) && 2*was.Sub(now) > f.Busy.Sub(now) {
			f.Busy = was
		}
	}
	if s := w.beat.IdleSeconds; s > 0 {
		f.Idle = heard.Add(-time.Duration(s * float64(time.Second))).Truncate(time.Second)
		if was := w.said.Idle; !was.IsZero() && f.Idle.Sub(was).Abs() < idleSlack {
			f.Idle = was
		}
	}
}

// changed reports that the controller must hear of a fact. A next deadline that merely moved later with
// a beat is no news: the one it knows comes first, and it asks again then.
func (w *Worker) changed(f msg.WorkerFact) bool {
	old := w.said
	f.At = old.At
	later := !old.Next.IsZero() && !f.Next.IsZero() && !f.Next.Before(old.Next)
	if later {
		f.Next = old.Next
	}
	return f != old
}

func (w *Worker) view() msg.WorkerView {
	v := msg.WorkerView{Worker: w.id, Errors: append([]msg.ProcessReport(nil), w.errors...), ErrorsAt: append([]time.Time(nil), w.errorsAt...)}
	if w.vital != nil {
		v.LastHeard = w.vital.LastHeard()
	}
	return v
}

// Draining reports that the worker was told to drain.
func (w *Worker) Draining() bool { return w.watch.Draining }
