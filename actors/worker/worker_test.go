package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/worker"
)

// workerBench is one worker's core with what it said.
type workerBench struct {
	*worker.Core
	t      *testing.T
	now    time.Time
	watch  msg.WatchWorker
	facts  []msg.WorkerFact
	orders map[msg.Address]msg.AgentOrders
}

func newWorkerBench(t *testing.T) *workerBench {
	b := &workerBench{
		Core: worker.New("web-1-1/0", "controller"), t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		orders: map[msg.Address]msg.AgentOrders{},
	}
	health := epu.HealthSpec{
		Source: epu.HealthAgent, Heartbeat: 10 * time.Second, BootGrace: 2 * time.Minute, MissingAfter: time.Minute,
		SecondChance: 15 * time.Second, ZombieAfter: 2 * time.Minute, LaunchDeadline: 10 * time.Minute,
	}
	b.watch = msg.WatchWorker{Running: true, Spec: &health}
	b.tell(b.watch)
	return b
}

func (b *workerBench) from(from msg.Address, m any) {
	b.t.Helper()
	known := b.Handle(b.now, from, m, func(to msg.Address, m any) {
		switch m := m.(type) {
		case msg.WorkerFact:
			b.facts = append(b.facts, m)
		case msg.AgentOrders:
			b.orders[to] = m
		}
	})
	if !known {
		b.t.Fatalf("%T is unknown", m)
	}
}

func (b *workerBench) tell(m any) { b.t.Helper(); b.from("controller", m) }

// beat sends a beat after a while and gives the orders that answer it.
func (b *workerBench) beat(after time.Duration, beat msg.Beat) []string {
	b.t.Helper()
	b.now = b.now.Add(after)
	if beat.State == "" {
		beat.State = "OK"
	}
	b.from("agent", msg.BeatReceived{At: b.now, Beat: beat})
	return kinds(b.orders["agent"])
}

func kinds(o msg.AgentOrders) []string {
	var ks []string
	for _, c := range o.Commands {
		ks = append(ks, c.Kind)
	}
	return ks
}

// news counts the facts since the last call.
func (b *workerBench) news() []msg.WorkerFact {
	facts := b.facts
	b.facts = nil
	return facts
}

// Goal: a worker that does well costs its controller next to nothing. Method: an hour of beats with a
// busy lease and an idle time that wander; its controller asks when it was told to.
func TestWorkerIsQuiet(t *testing.T) {
	b := newWorkerBench(t)
	b.news()
	var next time.Time
	told := 0
	for i := range 360 {
		beat := msg.Beat{BusyUntilSeconds: 60}
		if i >= 180 {
			beat = msg.Beat{IdleSeconds: float64(10*(i-180)) + float64(i%3) + 1}
		}
		b.beat(10*time.Second+time.Duration(i%7)*time.Millisecond, beat)
		if !next.IsZero() && b.now.After(next) {
			b.tell(msg.Look{Watch: b.watch})
		}
		for _, f := range b.news() {
			told, next = told+1, f.Next
		}
	}
	if told > 200 {
		t.Errorf("told %d facts in an hour of 360 beats", told)
	}
}

// Goal: a drain is handed out until the agent carries it out, is called back by the other order, and is
// given again to an agent that began anew; a question to beat does not displace it.
func TestWorkerOrders(t *testing.T) {
	b := newWorkerBench(t)
	expect := func(got, want []string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	expect(b.beat(0, msg.Beat{}), nil)
	b.watch.Draining = true
	b.tell(b.watch)
	b.tell(b.watch) // absolute: a copy orders nothing more
	expect(b.beat(10*time.Second, msg.Beat{}), []string{"drain"})
	id := b.orders["agent"].Commands[0].ID
	b.now = b.now.Add(2 * time.Minute) // silent: it is asked to beat, and still to drain
	b.tell(msg.Look{Watch: b.watch})
	b.from("poll", msg.CommandsQuery{After: id})
	expect(kinds(b.orders["poll"]), []string{"drain", "beat"})
	expect(b.beat(0, msg.Beat{}), []string{"drain"})
	expect(b.beat(10*time.Second, msg.Beat{Draining: true, Acked: []string{id}}), nil)
	expect(b.beat(10*time.Second, msg.Beat{}), []string{"drain"}) // the agent began anew and has forgotten
	b.watch.Draining = false
	b.tell(b.watch)
	expect(b.beat(10*time.Second, msg.Beat{}), []string{"cancel-drain"})
	expect(b.beat(10*time.Second, msg.Beat{Acked: []string{b.orders["agent"].Commands[0].ID}}), nil)
	b.watch.Ended = true
	b.tell(b.watch)
	if b.beat(10*time.Second, msg.Beat{}); !b.orders["agent"].Gone {
		t.Error("an agent of an ended worker is not told")
	}
}

// Goal: a worker that was called back after it had drained, and is drained again before its agent said
// anything, is drained only when the agent says so again. Method: the orders with no beat between them.
func TestWorkerDrainedAnew(t *testing.T) {
	b := newWorkerBench(t)
	drained := func() bool {
		b.tell(msg.Look{Watch: b.watch})
		facts := b.news()
		return facts[len(facts)-1].Drained
	}
	drain := func(on bool) { b.watch.Draining = on; b.tell(b.watch) }
	drain(true)
	b.beat(time.Second, msg.Beat{Draining: true, Drained: true})
	if !drained() {
		t.Fatal("the agent's word is not passed on")
	}
	drain(false)
	drain(true)
	if drained() {
		t.Error("it is drained by the word of the drain before")
	}
	b.beat(time.Second, msg.Beat{Draining: true})
	if drained() {
		t.Error("it is drained, and its agent says that it is not")
	}
	b.beat(time.Second, msg.Beat{Draining: true, Drained: true})
	if !drained() {
		t.Error("the agent's word is not passed on")
	}
}

// Goal: until when a worker is busy and since when it is idle is known to its controller: never longer than its
// program said, of a lease at least the half that is left, and of idle times all but a few seconds. Method: any
// beats, and what the newest fact says right after each.
func TestWorkerLeases(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newWorkerBench(t)
		b.beat(0, msg.Beat{})
		for range rapid.IntRange(1, 30).Draw(rt, "beats") {
			var beat msg.Beat
			switch rapid.IntRange(0, 2).Draw(rt, "says") {
			case 1:
				beat.BusyUntilSeconds = rapid.Float64Range(0.1, 1000).Draw(rt, "busy")
			case 2:
				beat.IdleSeconds = rapid.Float64Range(0.1, 1000).Draw(rt, "idle")
			}
			b.beat(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds"))*time.Second, beat)
			told := b.facts[len(b.facts)-1]
			left, since := told.Busy.Sub(b.now).Seconds(), b.now.Sub(told.Idle).Seconds()
			const round = 0.01
			if says := beat.BusyUntilSeconds; told.Busy.IsZero() != (says == 0) || says > 0 && (left > says+round || left < says/2-round) {
				rt.Fatalf("%v busy: the controller was told of %v", says, left)
			}
			if says := beat.IdleSeconds; told.Idle.IsZero() != (says == 0) || says > 0 && (since > says+5+round || since < says-5-round) {
				rt.Fatalf("%v idle: the controller was told of %v", says, since)
			}
		}
	})
}

// Goal: a poll waits for an order that it has not seen, and gets its answer when there is one; another
// poll takes the place of one that was given up.
func TestWorkerPoll(t *testing.T) {
	b := newWorkerBench(t)
	b.from("first", msg.CommandsQuery{})
	if len(b.orders) > 0 {
		t.Fatalf("answered %v with nothing to order", b.orders)
	}
	b.from("second", msg.CommandsQuery{})
	if _, ok := b.orders["first"]; !ok {
		t.Error("the poll that was given up has no answer")
	}
	b.watch.Draining = true
	b.tell(b.watch)
	if got := kinds(b.orders["second"]); len(got) != 1 || got[0] != "drain" {
		t.Errorf("got %v, want the drain", got)
	}
}

// Goal: a Look is always answered, and brings an actor that knows nothing up to date.
func TestWorkerLook(t *testing.T) {
	b := newWorkerBench(t)
	b.beat(0, msg.Beat{})
	b.news()
	for range 3 {
		b.tell(msg.Look{Watch: b.watch})
		if n := len(b.news()); n != 1 {
			t.Errorf("got %d facts for one Look", n)
		}
	}
	anew := newWorkerBench(t)
	anew.Core, anew.facts = worker.New("web-1-1/0", "controller"), nil
	anew.beat(0, msg.Beat{}) // before it knows anything: dropped
	anew.watch.Known = true
	anew.tell(msg.Look{Watch: anew.watch})
	if f := anew.news(); len(f) != 1 || f[0].Heard || f[0].Next.IsZero() {
		t.Errorf("got %+v, want one unheard worker with a deadline", f)
	}
}

// Goal: process failures are told in one line, kept for people within a bound, and end with an OK beat.
func TestWorkerErrors(t *testing.T) {
	b := newWorkerBench(t)
	b.news()
	for i := range 12 {
		b.beat(time.Second, msg.Beat{State: "PROCESS_ERROR", Failed: []msg.ProcessReport{{Program: fmt.Sprint("p", i), ExitStatus: 3, AgeSeconds: 1}}})
	}
	facts := b.news()
	if f := facts[len(facts)-1]; f.Health != epu.ProcessError || f.Error != "p11 exited with status 3" {
		t.Errorf("got %+v", f)
	}
	var view msg.WorkerView
	b.Handle(b.now, "people", msg.WorkerQuery{}, func(_ msg.Address, m any) { view = m.(msg.WorkerView) })
	if len(view.Errors) != 10 || view.Errors[9].Program != "p11" || !view.ErrorsAt[9].Equal(b.now.Add(-time.Second)) || !view.LastHeard.Equal(b.now) {
		t.Errorf("got %+v", view)
	}
	b.beat(time.Second, msg.Beat{})
	facts = b.news()
	if f := facts[len(facts)-1]; f.Health != epu.HealthOK || f.Error != "" {
		t.Errorf("got %+v, want an OK worker", f)
	}
}

// Goal: no worker misses that silence is counted anew. Method: the word of it is lost, and the next look
// says it again; a repetition of that forgives nothing more.
func TestSilenceIsCountedAnew(t *testing.T) {
	b := newWorkerBench(t)
	b.beat(time.Second, msg.Beat{})
	silent := func(after time.Duration) epu.Health {
		b.now = b.now.Add(after)
		b.tell(msg.Look{Watch: b.watch})
		return b.facts[len(b.facts)-1].Health
	}
	missing := b.watch.Spec.MissingAfter
	if got := silent(missing + time.Second); got != epu.OutOfContact {
		t.Fatalf("got %v after a silence that is too long", got)
	}
	b.watch.Recounts = 1
	if got := silent(time.Second); got == epu.OutOfContact || got == epu.Missing {
		t.Errorf("still %v although counting began anew", got)
	}
	if got := silent(missing - time.Second); got == epu.OutOfContact || got == epu.Missing {
		t.Errorf("%v before the new count was full", got)
	}
	if got := silent(2 * time.Second); got != epu.OutOfContact {
		t.Errorf("got %v once the new count was full: looks that repeat a number forgive nothing more", got)
	}
}
