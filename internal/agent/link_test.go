package agent

// Goal: show when the agent speaks to which node, and that each command is carried out once.
// Method: the world of state_test.go.

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
)

func TestCheckInTooEarlyAndAway(t *testing.T) {
	w := newWorld(t, false)
	w.deny = tooEarly
	w.pass(1500 * time.Millisecond)
	w.deny, w.up = 0, false
	w.pass(3 * time.Second)
	w.up = true
	w.pass(3 * time.Second)
	w.check(`
		  0.0s check-in refused
		  1.0s check-in refused
		  2.0s check-in at 0 unanswered
		  2.0s check-in at 1 unanswered
		  2.8s check-in at 0 unanswered
		  2.8s check-in at 1 unanswered
		  4.2s check-in at 0 unanswered
		  4.2s check-in at 1 unanswered
		  7.2s check-in
		  7.2s start
		  7.2s beat 1 OK`)
}

// A token that stopped being valid is exchanged, and the programs notice nothing.
func TestTokenDenied(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace = nil
	w.c.link.busy = true // a beat is under way
	w.c.beatFailed(w.now, denied)
	w.pass(time.Second)
	w.check(`
		  2.0s check-in
		  2.0s beat 2 OK`)
	w.deny = denied
	w.pass(10 * time.Second)
	w.check(`
		  7.0s beat 3 OK refused
		  7.0s check-in refused
		  7.0s check-in refused
		  7.8s check-in refused
		  7.8s check-in refused
		  9.2s check-in refused
		  9.2s check-in refused
		 12.2s check-in refused
		 12.2s check-in refused`)
}

// A node must not be able to hand this machine another worker's name while programs run under the old one.
func TestAnotherWorkersAnswerIsRefused(t *testing.T) {
	w := newWorld(t, false)
	w.pass(time.Second)
	other := testCheckedIn
	other.Worker = "epu-web-1-7/1"
	if w.c.checkedIn(w.now, other) {
		t.Error("got accepted, want refused")
	}
}

// The same command handed out again is acknowledged again, but neither carried out again nor a reason to hurry.
func TestCommandsAreCarriedOutOnce(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.command("c1", "drain")
	w.command1("c2", "cancel-drain")
	w.pass(time.Second)
	w.trace = nil
	w.c.beatAnswered(w.now, msg.BeatReply{Commands: []msg.AgentCommand{{ID: "c1", Kind: "drain"}, {ID: "c3", Kind: "dance"}}})
	w.pass(6 * time.Second)
	w.check(`  8.0s beat 6 OK ack=c1`)
}

// command1 lets the node order something with the answer to a beat.
func (w *world) command1(id, kind string) {
	w.commands = append(w.commands, msg.AgentCommand{ID: id, Kind: kind})
	w.c.link.urge(w.now)
	w.settle()
}

func TestBeatNow(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace = nil
	w.command("c1", "beat")
	w.check(`
		  2.0s order beat
		  2.0s beat 2 OK ack=c1`)
}

// What is new while a beat is under way waits for the next one, which follows at once.
func TestNewsWhileABeatIsUnderWay(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.c.link.urge(w.now)
	todo := w.c.step(w.now)
	sent, ok := todo[0].(sendBeat)
	if len(todo) != 1 || !ok || len(sent.Beat.Acked) != 0 {
		t.Fatalf("got %+v, want one beat", todo)
	}
	w.trace = nil
	w.commands = []msg.AgentCommand{{ID: "c1", Kind: "beat"}}
	w.c.pollAnswered(w.now, msg.BeatReply{Commands: w.commands})
	w.exit(failure{Status: 3, Stderr: "boom"})
	w.c.monitorFailed(w.now, "blind")
	w.c.report.monitorWorks()
	for _, a := range w.c.step(w.now) {
		if _, beat := a.(sendBeat); beat {
			t.Fatal("a second beat while one is under way")
		}
	}
	w.c.beatAnswered(w.now, msg.BeatReply{})
	w.pass(900 * time.Millisecond)
	w.check(`
		  2.0s exit 3
		  2.0s beat 3 MONITOR_ERROR (blind) [work 3 #0, 0s ago, "boom"] ack=c1`)
}

// Nodes that hand out a token and then refuse it must not be asked in a tight loop.
func TestTokenThatNeverWorks(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	asked := 0
	for end := w.now.Add(time.Minute); w.now.Before(end) && asked < 100; asked++ {
		w.c.link.busy = true
		w.c.beatFailed(w.now, denied)
		for w.c.link.token == "" {
			w.now = w.c.link.at
			if a := w.c.request(w.now); a != nil {
				w.c.checkedIn(w.now, testCheckedIn)
			}
		}
	}
	if asked > 10 {
		t.Errorf("checked in %d times in a minute, want at most 10", asked)
	}
}

// The refusal of a token that has already been exchanged says nothing about the new one.
func TestLateRefusalOfAPoll(t *testing.T) {
	for _, o := range []outcome{denied, gone} {
		w := newWorld(t, false)
		w.pass(2 * time.Second)
		w.c.pollFailed(w.now, "an older token", o)
		if w.c.link.token == "" || w.c.ended {
			t.Errorf("outcome %d: the new token was dropped", o)
		}
		w.c.pollFailed(w.now, "tok", o)
		if w.c.link.token != "" && !w.c.ended {
			t.Errorf("outcome %d of the present token: got nothing", o)
		}
	}
}

// A program that was asked to end and then can't be started again has failed.
func TestRestartAfterCancelFails(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.command("c1", "drain")
	w.pass(2 * time.Second)
	w.c.commands(w.now, []msg.AgentCommand{{ID: "c2", Kind: "cancel-drain"}})
	w.c.programs[0].step(0, w.now, w.c.order) // a start is ordered
	w.c.startFailed(w.now, 0, "start /bin/work: text file busy", false)
	w.trace = nil
	w.pass(0)
	w.check(`  4.0s beat 4 PROCESS_ERROR [work -1start /bin/work: text file busy #1, 0s ago, ""] ack=c2`)
}

// When a beat gets through again the long poll does not sit out its own wait.
func TestPollReturnsWithTheNode(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.polls = nil
	for range 9 {
		w.c.pollFailed(w.now, "tok", away)
	}
	w.pass(time.Second)
	if len(w.polls) != 0 {
		t.Fatalf("got %d polls during the wait, want 0", len(w.polls))
	}
	w.pass(2 * time.Second) // the beat of the fifth second
	if len(w.polls) != 1 {
		t.Errorf("got %d polls after an answered beat, want 1", len(w.polls))
	}
}
