package agent

import (
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// The states that a beat reports.
const (
	stateOK           = "OK"
	stateProcessError = "PROCESS_ERROR"
	stateMonitorError = "MONITOR_ERROR"
)

// The commands of a node.
const (
	commandBeatNow     = "beat"
	commandDrain       = "drain"
	commandCancelDrain = "cancel-drain"
	commandStop        = "stop"
)

const (
	farewellMax = 2 * time.Second  // for a last beat after the programs' end
	unkillable  = 10 * time.Second // after SIGKILL: then the agent leaves without them
)

// action is something the shell must do. It reports what came of it by calling one of core's facts.
type action interface{}

type (
	startProgram struct { // -> started, in the end exited; or startFailed
		Program int
		Args    []string
	}
	endProgram struct { // -> monitorFailed, if it can't be done
		Program int
		Kill    bool // SIGKILL, else SIGTERM
	}
	startDrainCommand struct{ Program int } // -> drainCommandEnded
	killDrainCommand  struct{ Program int }
	readStatus        struct{}           // -> statusRead
	sendCheckIn       struct{ Node int } // -> checkedIn, checkInFailed
	sendBeat          struct {           // -> beatAnswered, beatFailed
		Node   int
		Token  string
		Within time.Duration
		Beat   msg.Beat
	}
	sendPoll struct { // -> pollAnswered, pollFailed
		Node  int
		Token string
		After string
	}
)

type goal int

const (
	goalRun goal = iota
	goalDrain
	goalStop
)

// order is what all programs are to do.
type order struct {
	goal         goal
	drainBy      time.Time // zero: as long as it takes; later while a program is busy
	drainCommand bool      // there is one
	stopBy       time.Time
}

// core decides everything the agent does. It is pure: facts and the time go in, actions come out of
// step, and next says when to ask again without a fact.
type core struct {
	instance epu.InstanceID
	rnd      func() float64 // in [0, 1)
	programs []*program
	order    order
	drained  bool // all programs stopped after a drain
	ended    bool // a node answered 410
	leaveBy  time.Time
	link     link
	report   report
	status   status
	pending  []action // of facts that act at once
}

func newCore(instance epu.InstanceID, user msg.UserData, drainCommand bool, now time.Time, rnd func() float64) *core {
	c := &core{
		instance: instance, rnd: rnd,
		programs: []*program{newProgram(user.Run)},
		order:    order{drainCommand: drainCommand},
		link:     link{nodes: len(user.Nodes), period: beatPeriodDefault, at: now},
	}
	c.link.setPeriod(user.Heartbeat)
	return c
}

// step gives what is to be done now, once each.
func (c *core) step(now time.Time) []action {
	todo := c.pending
	c.pending = nil
	c.lengthenDrain(now)
	if c.link.worker != "" { // the programs need the worker's variables
		for i, p := range c.programs {
			todo = append(todo, p.step(i, now, c.order)...)
		}
		if c.runs() && c.status.due(now) {
			todo = append(todo, readStatus{})
		}
	}
	if c.order.goal == goalDrain && !c.drained && c.stopped() {
		c.drained = true
		c.link.urge(now)
	}
	if c.order.goal == goalStop && c.leaveBy.IsZero() && c.stopped() {
		c.leaveBy = now.Add(farewellMax)
		c.link.urge(now)
	}
	if a := c.request(now); a != nil {
		todo = append(todo, a)
	}
	if a := c.poll(now); a != nil {
		todo = append(todo, a)
	}
	return todo
}

// lengthenDrain gives a program that says it is busy until the end of its lease. A node that does not wait
// for that (drain.protect_busy: false) ends the worker when the drain time is over.
func (c *core) lengthenDrain(now time.Time) {
	if c.order.goal != goalDrain || c.order.drainBy.IsZero() {
		return
	}
	if by := c.status.busyUntil(now, c.link.period); by.After(c.order.drainBy) {
		c.order.drainBy = by
	}
}

func (c *core) request(now time.Time) action {
	l := &c.link
	if c.ended || l.busy || now.Before(l.at) || c.done(now) {
		return nil
	}
	l.busy = true
	if l.token == "" {
		return sendCheckIn{Node: l.node}
	}
	b := c.report.beat(now, c.programs, l.worker, c.instance)
	b.Draining, b.Drained = c.order.goal == goalDrain || c.drained, c.drained
	b.BusyUntilSeconds, b.IdleSeconds = c.status.wire(now, l.period)
	return sendBeat{Node: l.node, Token: l.token, Within: l.beatDeadline(), Beat: b}
}

func (c *core) poll(now time.Time) action {
	l := &c.link
	if c.order.goal == goalStop || l.token == "" || l.polling || now.Before(l.pollAt) {
		return nil
	}
	l.polling, l.pollBegan = true, now
	return sendPoll{Node: l.node, Token: l.token, After: l.after}
}

// next is when step has something to do without a new fact; zero is never.
func (c *core) next() (at time.Time) {
	if c.link.worker != "" {
		for _, p := range c.programs {
			at = earlier(at, p.next(c.order))
		}
		if c.runs() && !c.status.reading {
			at = earlier(at, c.status.readAt)
		}
	}
	if !c.link.busy && !c.ended {
		at = earlier(at, c.link.at)
	}
	if !c.link.polling && c.link.token != "" && c.order.goal != goalStop {
		at = earlier(at, c.link.pollAt)
	}
	if c.order.goal != goalStop {
		return at
	}
	if c.stopped() {
		return earlier(at, c.leaveBy)
	}
	return earlier(at, c.order.stopBy.Add(unkillable))
}

// done reports that nothing is left to do: the programs have ended, and the node knows all it should or
// does not answer.
func (c *core) done(now time.Time) bool {
	if c.order.goal != goalStop {
		return false
	}
	if !c.stopped() {
		return !now.Before(c.order.stopBy.Add(unkillable))
	}
	if c.ended || c.link.token == "" || !c.report.unsaid() {
		return true
	}
	return !c.leaveBy.IsZero() && !now.Before(c.leaveBy)
}

// runs reports that a program runs, which then may say what it does.
func (c *core) runs() bool {
	return slices.ContainsFunc(c.programs, func(p *program) bool { return p.phase == running })
}

func (c *core) stopped() bool {
	for _, p := range c.programs {
		if !p.stopped() {
			return false
		}
	}
	return true
}

// stop ends the programs within a time and then the agent. Asked again, the earlier end counts.
func (c *core) stop(now time.Time, within time.Duration) {
	by := now.Add(within)
	if c.order.goal != goalStop || by.Before(c.order.stopBy) {
		c.order.goal, c.order.stopBy = goalStop, by
	}
}

func (c *core) started(now time.Time, i int) {
	c.programs[i].started(now)
	c.report.monitorWorks()
}

// startFailed: the program could not be started; ours says that this is no fault of the program.
func (c *core) startFailed(now time.Time, i int, why string, ours bool) {
	if ours {
		c.monitorFailed(now, why)
		c.programs[i].retry(now, 0)
		return
	}
	c.exited(now, i, failure{Status: -1, Error: cut(why, errorTextMax)})
}

// exited: the program has ended; f holds how.
func (c *core) exited(now time.Time, i int, f failure) {
	c.report.monitorWorks()
	c.status.forget()
	if failed := c.programs[i].ended(now, c.order, f); failed != nil {
		c.report.failed(failed)
		c.link.urge(now)
	}
}

func (c *core) drainCommandEnded(i int, ok bool) {
	c.pending = append(c.pending, c.programs[i].drainCommandEnded(i, c.order, ok)...)
}

// monitorFailed: supervision itself does not work.
func (c *core) monitorFailed(now time.Time, why string) {
	c.report.monitorFailed(why)
	c.link.urge(now)
}

// statusRead: what the program says of itself was looked up. That it became busy is told at once, for a
// node must not choose it as a victim meanwhile.
func (c *core) statusRead(now time.Time, said said) {
	if c.status.take(now, said, c.runs()) {
		c.link.urge(now)
	}
}

func (c *core) checkedIn(now time.Time, in msg.CheckedIn) bool {
	ok := c.link.checkedIn(now, in, c.rnd)
	if ok && len(in.DrainCommand) > 0 {
		c.order.drainCommand = true
	}
	return ok
}

func (c *core) checkInFailed(now time.Time, o outcome) {
	switch o {
	case tooEarly:
		c.link.busy, c.link.at = false, now.Add(tooEarlyDelay)
	case gone:
		c.workerEnded(now)
	default:
		c.link.failed(now, c.rnd)
	}
}

func (c *core) beatAnswered(now time.Time, r msg.BeatReply) {
	c.report.answered()
	c.link.setPeriod(r.HeartbeatSeconds)
	c.link.answered(now, len(c.report.queue) > 0, c.rnd)
	c.commands(now, r.Commands)
}

func (c *core) beatFailed(now time.Time, o outcome) {
	switch o {
	case gone:
		c.workerEnded(now)
	case denied:
		c.link.busy = false
		c.link.deny(now, c.rnd)
	default:
		c.link.failed(now, c.rnd)
	}
}

func (c *core) pollAnswered(now time.Time, r msg.BeatReply) {
	c.link.pollEnded(now, true, c.rnd)
	c.link.setPeriod(r.HeartbeatSeconds)
	c.commands(now, r.Commands)
}

// pollFailed: the token it was sent with may meanwhile have been exchanged.
func (c *core) pollFailed(now time.Time, token string, o outcome) {
	c.link.pollEnded(now, false, c.rnd)
	switch {
	case token != c.link.token:
	case o == gone:
		c.workerEnded(now)
	case o == denied && !c.link.busy: // else the beat under way will find out
		c.link.deny(now, c.rnd)
	}
}

// workerEnded: the worker is no longer wanted. Nothing more is said.
func (c *core) workerEnded(now time.Time) {
	c.ended, c.link.busy = true, false
	c.stop(now, stopGrace)
}

// commands carries out each command once and acknowledges it as often as it is handed out.
func (c *core) commands(now time.Time, list []msg.AgentCommand) {
	for _, cmd := range list {
		c.link.after = cmd.ID
		known := !c.report.know(cmd.ID)
		if c.obey(now, cmd.Kind, known) {
			c.report.ack(cmd.ID)
			if !known { // an old one waits for the regular beat: the answer may just have crossed ours
				c.link.urge(now)
			}
		}
	}
}

// obey reports that the kind of command is one this agent knows. An unknown one is never acknowledged,
// because it was never carried out.
func (c *core) obey(now time.Time, kind string, known bool) bool {
	switch kind {
	case commandBeatNow, commandDrain, commandCancelDrain, commandStop:
	default:
		return false
	}
	if known || c.order.goal == goalStop {
		return true
	}
	switch {
	case kind == commandDrain && c.order.goal == goalRun:
		c.order.goal, c.order.drainBy = goalDrain, c.link.drainEnd(now)
	case kind == commandCancelDrain:
		c.order.goal, c.drained = goalRun, false
	case kind == commandStop:
		c.stop(now, stopGrace)
	}
	return true
}
