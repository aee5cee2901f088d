package actors

import (
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
	newest     string // newest error, one line
	orders     []msg.AgentCommand
	ordered    uint64
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
		w.waiting, w.waitAfter = from, m.After
	case msg.WorkerQuery:
		send(from, w.view())
		return true
	case msg.Look:
		w.said.Next = time.Time{} // the asked-for time has come: say when the next one is
	case msg.ShiftTimes:
		if w.vital != nil {
			w.vital.Shift(m.By)
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
	if m.Running {
		w.vital.Running(now)
	}
	if m.Ended {
		w.vital.End(now)
	}
	switch {
	case m.Ended:
		w.orders = nil
	case m.Draining && !w.watch.Draining:
		w.order("drain")
	case !m.Draining && w.watch.Draining:
		w.order("cancel-drain")
	}
	w.watch = m
}

// order adds a command, in place of the ones it makes void.
func (w *Worker) order(kind string) {
	w.ordered++
	w.orders = append(w.orders[:0:0], msg.AgentCommand{ID: kind + "-" + strconv.FormatUint(w.ordered, 10), Kind: kind})
}

// beaten takes in a heartbeat.
func (w *Worker) beaten(m msg.BeatReceived) {
	if w.vital == nil {
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
	for _, id := range m.Beat.Acked {
		for i := range w.orders {
			if w.orders[i].ID == id {
				w.orders = append(w.orders[:i:i], w.orders[i+1:]...)
				break
			}
		}
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
		Worker: w.id, Health: health, Heard: !w.vital.LastHeard().IsZero(), Silent: w.vital.Silent(now),
		Drained: w.beat.Drained, Next: w.vital.Next(now),
	}
	if health == epu.ProcessError || health == epu.MonitorError {
		fact.Error = w.newest
	}
	if w.beat.BusyUntilSeconds > 0 {
		fact.Busy = w.vital.LastHeard().Add(time.Duration(w.beat.BusyUntilSeconds * float64(time.Second)))
	}
	if w.beat.IdleSeconds > 0 {
		fact.Idle = w.vital.LastHeard().Add(-time.Duration(w.beat.IdleSeconds * float64(time.Second))).Truncate(time.Second)
	}
	if w.changed(fact) {
		w.said = fact
		send(w.controller, fact)
	}
	if w.waiting != "" && (w.watch.Ended || len(w.orders) > 0 && w.orders[len(w.orders)-1].ID != w.waitAfter) {
		send(w.waiting, w.answer())
		w.waiting = ""
	}
}

// changed reports that the controller must hear of a fact. A next deadline that merely moved later with
// a beat is no news: the one it knows comes first, and it asks again then.
func (w *Worker) changed(f msg.WorkerFact) bool {
	old := w.said
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
