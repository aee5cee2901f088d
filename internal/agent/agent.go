package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/agent/child"
)

// ErrWorkerEnded is what Run gives when a node answered that the worker has ended. Starting the agent
// again on this machine can't help.
var ErrWorkerEnded = errors.New("the worker has ended")

// process is what the agent needs of a running program.
type process interface {
	Pid() int
	Signal(syscall.Signal) error
	Wait() child.Exit
}

// Agent is a worker's agent: it checks in, runs the worker's programs, beats and obeys. It is the shell
// around core: it carries out core's actions and brings their outcomes back as facts.
type Agent struct {
	cfg      Config
	client   *client
	out, err *child.Output
	hurry    chan struct{}
	once     sync.Once // of hurry

	// Owned by Run's goroutine.
	core     *core
	running  []process // by program; nil when it does not run
	draining []process // its drain command
	away     bool      // the nodes did not answer last time

	statusError string // of the last look at what the program says
}

// fact is an outcome on its way to the core.
type fact func(now time.Time)

// New makes an agent. Nothing happens before Run.
func New(cfg Config) *Agent {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport(cfg.CAs)
	}
	if cfg.start == nil {
		set := child.NewSet()
		cfg.start = func(s child.Spec) (process, error) { return started(set.Start(s)) }
	}
	return &Agent{
		cfg: cfg, client: newClient(cfg.User.Nodes, cfg.Transport),
		out: child.NewOutput(cfg.Stdout), err: child.NewOutput(cfg.Stderr),
		hurry: make(chan struct{}),
	}
}

// started keeps a nil *child.Process from becoming a process that is not nil.
func started(p *child.Process, err error) (process, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Hurry makes a stopping agent end its programs with SIGKILL at once; one that is not stopping stops so.
func (a *Agent) Hurry() { a.once.Do(func() { close(a.hurry) }) }

// Run works until a node stops the agent (nil), a node says that the worker has ended (ErrWorkerEnded),
// or the context ends (nil); each time the programs are ended first: SIGTERM, 10 s, SIGKILL. It is
// called once.
func (a *Agent) Run(ctx context.Context) error {
	effects, cancel := context.WithCancel(context.WithoutCancel(ctx))
	facts := make(chan fact)
	var jobs sync.WaitGroup
	do := func(job func() fact) {
		jobs.Go(func() {
			f := job()
			select {
			case facts <- f:
			case <-effects.Done():
			}
		})
	}
	a.core = newCore(a.cfg.Instance, a.cfg.User, a.cfg.DrainCommand != "", a.cfg.Clock.Now(), a.cfg.Random)
	a.running = make([]process, len(a.core.programs))
	a.draining = make([]process, len(a.core.programs))
	a.loop(ctx, effects, facts, do)
	cancel()
	if a.core.stopped() {
		jobs.Wait()
	}
	switch {
	case !a.core.stopped():
		return errors.New("a program did not end within 10 s of SIGKILL")
	case a.core.ended:
		return ErrWorkerEnded
	}
	return nil
}

func (a *Agent) loop(ctx, effects context.Context, facts chan fact, do func(func() fact)) {
	wake := make(chan struct{}, 1)
	stop, hurry := ctx.Done(), a.hurry
	for {
		now := a.cfg.Clock.Now()
		for _, todo := range a.core.step(now) {
			a.carryOut(effects, todo, facts, do)
		}
		if a.core.done(now) {
			return
		}
		var timer Timer
		if at := a.core.next(); !at.IsZero() {
			timer = a.cfg.Clock.AfterFunc(at.Sub(now), func() {
				select {
				case wake <- struct{}{}:
				default: // a wake-up is already waiting
				}
			})
		}
		select {
		case f := <-facts:
			f(a.cfg.Clock.Now())
		case <-wake:
		case <-stop:
			a.cfg.Log.Info("stopping: the agent was told to end")
			a.core.stop(a.cfg.Clock.Now(), stopGrace)
			stop = nil
		case <-hurry:
			a.core.stop(a.cfg.Clock.Now(), 0)
			hurry = nil
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// carryOut starts one action. What may block runs in a job of its own.
func (a *Agent) carryOut(ctx context.Context, todo action, facts chan fact, do func(func() fact)) {
	switch t := todo.(type) {
	case startProgram:
		if err := a.cfg.Status.Clear(); err != nil { // what the last one said is over
			a.cfg.Log.Warn("the program's status can't be cleared", "error", err)
		}
		env := environment(a.cfg.Env, &a.core.link, a.cfg.Status)
		do(func() fact { return a.runProgram(ctx, t, env, facts) })
	case endProgram:
		a.endProgram(t)
	case startDrainCommand:
		env := append(environment(a.cfg.Env, &a.core.link, a.cfg.Status), EnvProgramPID+"="+strconv.Itoa(a.running[t.Program].Pid()))
		do(func() fact { return a.runDrainCommand(ctx, t.Program, env, facts) })
	case killDrainCommand:
		if p := a.draining[t.Program]; p != nil {
			_ = p.Signal(syscall.SIGKILL) // it may just have ended
		}
	case readStatus:
		do(func() fact {
			said, err := a.cfg.Status.read(a.cfg.Clock.Now())
			return func(now time.Time) { a.statusRead(now, said, err) }
		})
	case sendCheckIn:
		in := msg.CheckIn{Bootstrap: a.cfg.User.Bootstrap, Launch: a.cfg.User.Launch, Instance: a.cfg.Instance}
		do(func() fact {
			ctx, cancel := context.WithTimeout(ctx, checkInDeadline)
			defer cancel()
			got, err := a.client.checkIn(ctx, t.Node, in)
			return func(now time.Time) { a.checkedIn(now, t, got, err) }
		})
	case sendBeat:
		do(func() fact {
			ctx, cancel := context.WithTimeout(ctx, t.Within)
			defer cancel()
			got, err := a.client.beat(ctx, t.Node, t.Token, t.Beat)
			return func(now time.Time) { a.beatEnded(now, t, got, err) }
		})
	case sendPoll:
		do(func() fact {
			ctx, cancel := context.WithTimeout(ctx, pollDeadline)
			defer cancel()
			got, err := a.client.poll(ctx, t.Node, t.Token, t.After)
			return func(now time.Time) { a.pollEnded(now, t, got, err) }
		})
	default:
		panic(fmt.Sprintf("agent: unknown action %T", todo))
	}
}

// runProgram is a program's whole life: its start is a fact on the way, its end the last one.
func (a *Agent) runProgram(ctx context.Context, t startProgram, env []string, facts chan fact) fact {
	i := t.Program
	p, err := a.cfg.start(child.Spec{Args: t.Args, Env: env, Stdout: a.out, Stderr: a.err})
	if err != nil {
		return func(now time.Time) {
			a.cfg.Log.Error("program can't be started", "program", a.core.programs[i].name, "error", err)
			a.core.startFailed(now, i, err.Error(), child.Ours(err))
		}
	}
	select {
	case facts <- func(now time.Time) {
		a.cfg.Log.Info("program started", "program", a.core.programs[i].name, "pid", p.Pid())
		a.running[i] = p
		a.core.started(now, i)
	}:
	case <-ctx.Done(): // the agent left without waiting
		_ = p.Signal(syscall.SIGKILL)
	}
	exit := p.Wait()
	return func(now time.Time) { a.exited(now, i, exit) }
}

func (a *Agent) exited(now time.Time, i int, exit child.Exit) {
	a.running[i] = nil
	p := a.core.programs[i]
	f := failure{Status: exit.Status, Signal: exit.Signal, Stderr: exit.Stderr}
	if exit.Err != nil {
		f.Error = cut(exit.Err.Error(), errorTextMax)
		a.core.monitorFailed(now, exit.Err.Error())
	}
	a.core.exited(now, i, f)
	level := slog.LevelInfo
	if p.failure != nil {
		level = slog.LevelWarn
	}
	a.cfg.Log.Log(context.Background(), level, "program ended", "program", p.name, "status", exit.Status, "signal", exit.Signal,
		"wanted", p.failure == nil, "failures_in_row", p.inRow)
}

func (a *Agent) statusRead(now time.Time, said said, err error) {
	if text := errorTextOf(err); text != a.statusError {
		a.statusError = text
		if err != nil {
			a.cfg.Log.Warn("what the program says of itself is not understood", "file", string(a.cfg.Status), "error", err)
		}
	}
	a.core.statusRead(now, said)
}

func errorTextOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (a *Agent) endProgram(t endProgram) {
	p := a.running[t.Program]
	if p == nil {
		return // it has ended; the fact is on its way
	}
	sig := syscall.SIGTERM
	if t.Kill {
		sig = syscall.SIGKILL
	}
	if err := p.Signal(sig); err != nil {
		a.cfg.Log.Error("program can't be signalled", "program", a.core.programs[t.Program].name, "error", err)
		a.core.monitorFailed(a.cfg.Clock.Now(), err.Error())
	}
}

// runDrainCommand is a drain command's whole life.
func (a *Agent) runDrainCommand(ctx context.Context, i int, env []string, facts chan fact) fact {
	args := []string{"/bin/sh", "-c", a.cfg.DrainCommand}
	if a.cfg.DrainCommand == "" {
		args = a.core.link.command
	}
	p, err := a.cfg.start(child.Spec{Args: args, Env: env, Stdout: a.out, Stderr: a.err})
	if err != nil {
		return func(now time.Time) {
			a.cfg.Log.Error("drain command can't be started", "error", err)
			a.core.drainCommandEnded(i, false)
		}
	}
	select {
	case facts <- func(now time.Time) {
		a.draining[i] = p
		if a.core.programs[i].drainKilled { // it was cancelled while it started
			_ = p.Signal(syscall.SIGKILL)
		}
	}:
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGKILL)
	}
	exit := p.Wait()
	return func(now time.Time) {
		a.draining[i] = nil
		ok := exit.Status == 0 && exit.Err == nil
		a.cfg.Log.Info("drain command ended", "ok", ok, "status", exit.Status, "signal", exit.Signal)
		a.core.drainCommandEnded(i, ok)
	}
}

func (a *Agent) checkedIn(now time.Time, t sendCheckIn, got msg.CheckedIn, err error) {
	if err == nil {
		if !a.core.checkedIn(now, got) {
			err = fmt.Errorf("the node takes this machine for worker %s, but its programs run as %s", got.Worker, a.core.link.worker)
			a.unanswered("check-in refused", t.Node, err)
			return
		}
		a.away = false
		a.cfg.Log.Info("checked in", "worker", got.Worker, "node", a.client.nodes[t.Node], "heartbeat", a.core.link.period)
		return
	}
	o := outcomeOf(err)
	a.core.checkInFailed(now, o)
	switch o {
	case tooEarly:
		a.cfg.Log.Debug("check-in is too early: the machine is not bound to a slot yet", "node", a.client.nodes[t.Node])
	case gone:
		a.cfg.Log.Warn("the worker has ended: stopping its programs", "node", a.client.nodes[t.Node])
	default:
		a.unanswered("check-in failed", t.Node, err)
	}
}

func (a *Agent) beatEnded(now time.Time, t sendBeat, got msg.BeatReply, err error) {
	if err != nil {
		o := outcomeOf(err)
		a.core.beatFailed(now, o)
		switch o {
		case gone:
			a.cfg.Log.Warn("the worker has ended: stopping its programs", "node", a.client.nodes[t.Node])
		case denied:
			a.cfg.Log.Warn("the node does not accept our token: checking in again", "node", a.client.nodes[t.Node])
		default:
			a.unanswered("beat not answered", t.Node, err)
		}
		return
	}
	if a.away {
		a.away = false
		a.cfg.Log.Info("a node answers again", "node", a.client.nodes[t.Node])
	}
	a.logNew(got)
	a.core.beatAnswered(now, got)
}

func (a *Agent) pollEnded(now time.Time, t sendPoll, got msg.BeatReply, err error) {
	if err != nil {
		a.cfg.Log.Debug("poll not answered", "node", a.client.nodes[t.Node], "error", err)
		a.core.pollFailed(now, t.Token, outcomeOf(err))
		return
	}
	a.logNew(got)
	a.core.pollAnswered(now, got)
}

func (a *Agent) logNew(r msg.BeatReply) {
	for _, c := range r.Commands {
		if !a.core.report.knows(c.ID) {
			a.cfg.Log.Info("command", "kind", c.Kind, "id", c.ID)
		}
	}
}

// unanswered says once that the nodes are away, and each further time only to those who want to know.
func (a *Agent) unanswered(text string, node int, err error) {
	level := slog.LevelWarn
	if a.away {
		level = slog.LevelDebug
	}
	a.away = true
	a.cfg.Log.Log(context.Background(), level, text+": trying on", "node", a.client.nodes[node], "error", err)
}
