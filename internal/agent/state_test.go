package agent

// Goal: show what the agent decides, second by second, without a clock, a process or a network.
// Method: a small world around the pure core answers its actions and writes a trace; tests compare traces.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nimbus-epu/epu/actors/msg"
)

var testUser = msg.UserData{
	Nodes: []string{"http://a", "http://b"}, Bootstrap: "boot", Launch: "epu-web-1-7", Heartbeat: 5, Run: []string{"/bin/work"},
}

var testCheckedIn = msg.CheckedIn{
	Worker: "epu-web-1-7/0", Token: "tok", Name: "left", Vars: map[string]string{"QUEUE": "q"}, HeartbeatSeconds: 5, DrainSeconds: 60,
}

var testStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world answers a core's actions at once. Beats and polls are answered only while up.
type world struct {
	t        testing.TB
	c        *core
	now      time.Time
	began    time.Time
	up       bool
	obedient bool // programs end with status 0 on SIGTERM
	deny     outcome
	commands []msg.AgentCommand // pending, until acknowledged
	beats    []msg.Beat
	polls    []sendPoll // not yet answered
	trace    []string
}

func newWorld(t testing.TB, drainCommand bool) *world {
	began := testStart
	return &world{
		t: t, now: began, began: began, up: true, obedient: true,
		c: newCore("i-1", testUser, drainCommand, began, func() float64 { return 0.5 }),
	}
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%5.1fs ", w.now.Sub(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// settle carries out actions until there are none.
func (w *world) settle() {
	for round := 0; ; round++ {
		todo := w.c.step(w.now)
		if len(todo) == 0 {
			return
		}
		if round > 100 {
			w.t.Fatalf("the core does not come to rest:\n%s", strings.Join(w.trace, "\n"))
		}
		for _, a := range todo {
			w.act(a)
		}
	}
}

func (w *world) act(a action) {
	switch a := a.(type) {
	case startProgram:
		w.note("start")
		w.c.started(w.now, a.Program)
	case endProgram:
		w.note("end kill=%v", a.Kill)
		if a.Kill {
			w.exit(failure{Status: -1, Signal: "SIGKILL"})
		} else if w.obedient {
			w.exit(failure{})
		}
	case startDrainCommand:
		w.note("drain command")
	case killDrainCommand:
		w.note("kill drain command")
		w.c.drainCommandEnded(a.Program, false)
	case sendCheckIn:
		switch {
		case w.deny != 0:
			w.note("check-in refused")
			w.c.checkInFailed(w.now, w.deny)
		case !w.up:
			w.note("check-in at %d unanswered", a.Node)
			w.c.checkInFailed(w.now, away)
		default:
			w.note("check-in")
			w.c.checkedIn(w.now, testCheckedIn)
		}
	case sendBeat:
		w.beat(a)
	case sendPoll:
		w.polls = append(w.polls, a)
	}
}

func (w *world) beat(a sendBeat) {
	text := beatText(a.Beat)
	switch {
	case w.deny != 0:
		w.note("%s refused", text)
		w.c.beatFailed(w.now, w.deny)
	case !w.up:
		w.note("%s at %d unanswered", text, a.Node)
		w.c.beatFailed(w.now, away)
	default:
		w.note("%s", text)
		w.beats = append(w.beats, a.Beat)
		left := w.commands[:0:0]
		for _, c := range w.commands {
			if !strings.Contains(" "+strings.Join(a.Beat.Acked, " ")+" ", " "+c.ID+" ") {
				left = append(left, c)
			}
		}
		w.commands = left
		w.c.beatAnswered(w.now, msg.BeatReply{Commands: w.commands})
	}
}

func beatText(b msg.Beat) string {
	s := fmt.Sprintf("beat %d %s", b.Seq, b.State)
	if b.Error != "" {
		s += " (" + b.Error + ")"
	}
	for _, f := range b.Failed {
		s += fmt.Sprintf(" [%s %d%s%s #%d, %.0fs ago, %q]", f.Program, f.ExitStatus, f.Signal, f.Error, f.Restarts, f.AgeSeconds, f.Stderr)
	}
	for _, id := range b.Acked {
		s += " ack=" + id
	}
	if b.Draining {
		s += " draining"
	}
	if b.Drained {
		s += " drained"
	}
	return s
}

// exit ends the running program.
func (w *world) exit(f failure) {
	w.note("exit %d%s", f.Status, f.Signal)
	w.c.exited(w.now, 0, f)
}

// pass lets time go by, stopping where the core asked for it.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	w.settle()
	for !w.c.done(w.now) {
		at := w.c.next()
		if at.IsZero() || at.After(end) {
			break
		}
		if !at.After(w.now) {
			w.t.Fatalf("the core asks for %v at %v and does nothing:\n%s", at, w.now, strings.Join(w.trace, "\n"))
		}
		w.now = at
		w.settle()
	}
	w.now = end
}

// command lets the node order something, by the long poll.
func (w *world) command(id, kind string) {
	w.commands = append(w.commands, msg.AgentCommand{ID: id, Kind: kind})
	if len(w.polls) == 0 {
		w.t.Fatal("no poll is open")
	}
	w.polls = w.polls[1:]
	w.note("order %s", kind)
	w.c.pollAnswered(w.now, msg.BeatReply{Commands: w.commands})
	w.settle()
}

// check compares the trace since the last check.
func (w *world) check(want string) {
	w.t.Helper()
	got := strings.Join(w.trace, "\n")
	w.trace = nil
	lines := strings.Split(strings.Trim(want, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "\t\t")
	}
	if d := cmp.Diff(strings.Join(lines, "\n"), got); d != "" {
		w.t.Errorf("trace (-want +got):\n%s", d)
	}
}

func TestQuietLife(t *testing.T) {
	w := newWorld(t, false)
	w.pass(11 * time.Second)
	w.check(`
		  0.0s check-in
		  0.0s start
		  0.0s beat 1 OK
		  5.0s beat 2 OK
		 10.0s beat 3 OK`)
}

// A failure is reported at once and repeated while it lasts, its words only in the first answered beat.
func TestFailureIsReportedOnceWithItsWords(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace = nil
	w.exit(failure{Status: 3, Stderr: "boom"})
	w.pass(13 * time.Second)
	w.check(`
		  2.0s exit 3
		  2.0s beat 2 PROCESS_ERROR [work 3 #0, 0s ago, "boom"]
		  3.0s start
		  7.0s beat 3 PROCESS_ERROR [work 3 #0, 5s ago, ""]
		 12.0s beat 4 PROCESS_ERROR [work 3 #0, 10s ago, ""]`)
	w.pass(3 * time.Second)
	w.check(` 17.0s beat 5 OK`)
}

func TestFailureWhileNodesAreAway(t *testing.T) {
	w := newWorld(t, false)
	w.pass(time.Second)
	w.trace, w.up = nil, false
	w.exit(failure{Status: -1, Signal: "SIGSEGV", Stderr: "first"})
	w.pass(5 * time.Second)
	w.exit(failure{Status: 4, Stderr: "second"})
	w.pass(time.Second)
	w.up = true
	w.pass(6 * time.Second)
	w.check(`
		  1.0s exit -1SIGSEGV
		  1.0s beat 2 PROCESS_ERROR [work -1SIGSEGV #0, 0s ago, "first"] at 0 unanswered
		  1.0s beat 3 PROCESS_ERROR [work -1SIGSEGV #0, 0s ago, "first"] at 1 unanswered
		  1.8s beat 4 PROCESS_ERROR [work -1SIGSEGV #0, 1s ago, "first"] at 0 unanswered
		  1.8s beat 5 PROCESS_ERROR [work -1SIGSEGV #0, 1s ago, "first"] at 1 unanswered
		  2.0s start
		  3.2s beat 6 PROCESS_ERROR [work -1SIGSEGV #0, 2s ago, "first"] at 0 unanswered
		  3.2s beat 7 PROCESS_ERROR [work -1SIGSEGV #0, 2s ago, "first"] at 1 unanswered
		  6.0s exit 4
		  6.0s beat 8 PROCESS_ERROR [work -1SIGSEGV #0, 5s ago, "first"] [work 4 #1, 0s ago, "second"] at 0 unanswered
		  6.0s beat 9 PROCESS_ERROR [work -1SIGSEGV #0, 5s ago, "first"] [work 4 #1, 0s ago, "second"] at 1 unanswered
		  8.0s start
		 12.0s beat 10 PROCESS_ERROR [work -1SIGSEGV #0, 11s ago, "first"] [work 4 #1, 6s ago, "second"]`)
}

// A program that keeps failing waits longer each time, and after five failures in a row ten seconds of
// life no longer make it healthy: the controller sees one lasting error and replaces the worker.
func TestBackoffAndLastingError(t *testing.T) {
	w := newWorld(t, false)
	w.pass(time.Second)
	var starts []string
	for range 9 {
		w.exit(failure{Status: 1})
		began := w.now
		w.trace = nil
		for !strings.Contains(strings.Join(w.trace, "\n"), "start") {
			w.pass(time.Second)
		}
		starts = append(starts, w.now.Sub(began).String())
		w.pass(12 * time.Second) // alive, and healthy as long as it has not failed too often
		if want := len(starts) <= failuresInRowMax; (w.c.programs[0].failure == nil) != want {
			t.Errorf("12 s after failure %d: healthy %v, want %v", len(starts), !want, want)
		}
	}
	if d := cmp.Diff([]string{"1s", "2s", "4s", "8s", "16s", "32s", "1m0s", "1m0s", "1m0s"}, starts); d != "" {
		t.Errorf("delays (-want +got):\n%s", d)
	}
	w.pass(lifeReset)
	if last := w.beats[len(w.beats)-1]; last.State != stateOK {
		t.Errorf("after a minute of life: got %s, want OK", last.State)
	}
	w.trace = nil
	w.exit(failure{Status: 1})
	w.pass(1500 * time.Millisecond)
	if got := strings.Join(w.trace, "\n"); !strings.Contains(got, "start") {
		t.Errorf("after a minute of life the delay begins anew: got\n%s", got)
	}
}

func TestStartFails(t *testing.T) {
	w := newWorld(t, false)
	w.c.checkedIn(w.now, testCheckedIn)
	w.c.link.at = w.now.Add(time.Hour)
	w.c.step(w.now)
	w.c.startFailed(w.now, 0, "start /bin/work: no such file", false)
	w.pass(0)
	w.check(`  0.0s beat 1 PROCESS_ERROR [work -1start /bin/work: no such file #0, 0s ago, ""]`)
}

// Want of processes is our trouble, not the program's: MONITOR_ERROR until a start works and a node knows.
func TestMonitorError(t *testing.T) {
	w := newWorld(t, false)
	w.c.checkedIn(w.now, testCheckedIn)
	w.c.link.at = w.now.Add(time.Hour)
	w.c.step(w.now)
	w.up = false
	w.c.startFailed(w.now, 0, "start /bin/work: resource temporarily unavailable", true)
	w.pass(1500 * time.Millisecond)
	w.up = true
	w.pass(7 * time.Second)
	w.check(`
		  0.0s beat 1 MONITOR_ERROR (start /bin/work: resource temporarily unavailable) at 0 unanswered
		  0.0s beat 2 MONITOR_ERROR (start /bin/work: resource temporarily unavailable) at 1 unanswered
		  0.8s beat 3 MONITOR_ERROR (start /bin/work: resource temporarily unavailable) at 0 unanswered
		  0.8s beat 4 MONITOR_ERROR (start /bin/work: resource temporarily unavailable) at 1 unanswered
		  1.0s start
		  2.2s beat 5 MONITOR_ERROR (start /bin/work: resource temporarily unavailable)
		  7.2s beat 6 OK`)
}

func TestDrain(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient = nil, false
	w.command("c1", "drain")
	w.pass(8 * time.Second)
	w.exit(failure{Status: 143})
	w.pass(6 * time.Second)
	w.check(`
		  2.0s order drain
		  2.0s end kill=false
		  2.0s beat 2 OK ack=c1 draining
		  7.0s beat 3 OK draining
		 10.0s exit 143
		 10.0s beat 4 OK draining drained
		 15.0s beat 5 OK draining drained`)
	w.command("c2", "cancel-drain")
	w.pass(0)
	w.check(`
		 16.0s order cancel-drain
		 16.0s start
		 16.0s beat 6 OK ack=c2`)
}

// A program that was cancelled on its way out goes to its end in peace, and is then started again.
func TestCancelBeforeTheEnd(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.obedient = false
	w.command("c1", "drain")
	w.pass(time.Second)
	w.trace = nil
	w.command("c2", "cancel-drain")
	w.pass(2 * time.Minute) // longer than the drain would have had
	for _, line := range w.trace {
		if strings.Contains(line, "end") || strings.Contains(line, "draining") {
			t.Errorf("after the cancel: got %q", line)
		}
	}
	w.trace = nil
	w.exit(failure{Status: 1})
	w.pass(0)
	w.check(`
		123.0s exit 1
		123.0s start`)
}

func TestDrainDeadline(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.obedient = false
	w.command("c1", "drain")
	w.pass(59 * time.Second)
	w.trace = nil
	w.pass(2 * time.Second)
	w.check(`
		 62.0s end kill=true
		 62.0s exit -1SIGKILL
		 62.0s beat 14 OK draining
		 62.0s beat 15 OK draining drained`)
}

func TestDrainCommand(t *testing.T) {
	t.Run("works", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.trace = nil
		w.command("c1", "drain")
		w.pass(time.Second)
		w.c.drainCommandEnded(0, true)
		w.pass(time.Second)
		w.exit(failure{Status: 0})
		w.pass(0)
		w.check(`
		  2.0s order drain
		  2.0s drain command
		  2.0s beat 2 OK ack=c1 draining
		  4.0s exit 0
		  4.0s beat 3 OK draining drained`)
	})
	t.Run("fails", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.command("c1", "drain")
		w.trace = nil
		w.c.drainCommandEnded(0, false)
		w.pass(0)
		w.check(`
		  2.0s end kill=false
		  2.0s exit 0
		  2.0s beat 3 OK draining drained`)
	})
	t.Run("hangs", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.obedient = false
		w.command("c1", "drain")
		w.pass(59 * time.Second)
		w.trace = nil
		w.pass(11 * time.Second)
		w.check(`
		 62.0s kill drain command
		 62.0s end kill=false
		 62.0s beat 14 OK draining
		 67.0s beat 15 OK draining
		 72.0s end kill=true
		 72.0s exit -1SIGKILL
		 72.0s beat 16 OK draining
		 72.0s beat 17 OK draining drained`)
	})
	t.Run("cancelled", func(t *testing.T) {
		w := newWorld(t, true)
		w.pass(2 * time.Second)
		w.command("c1", "drain")
		w.pass(2 * time.Second)
		w.trace = nil
		w.command("c2", "cancel-drain")
		w.check(`
		  4.0s order cancel-drain
		  4.0s kill drain command
		  4.0s beat 3 OK ack=c2`)
	})
}

func TestStop(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient = nil, false
	w.command("c1", "stop")
	w.pass(20 * time.Second)
	w.check(`
		  2.0s order stop
		  2.0s end kill=false
		  2.0s beat 2 OK ack=c1
		  7.0s beat 3 OK
		 12.0s end kill=true
		 12.0s exit -1SIGKILL
		 12.0s beat 4 OK`)
	if !w.c.done(w.now) || w.c.ended {
		t.Errorf("done %v ended %v, want done, not ended", w.c.done(w.now), w.c.ended)
	}
}

// The acknowledgement of stop gets two seconds even when the nodes have just gone away.
func TestStopWhileAway(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.up = nil, false
	w.command("c1", "stop")
	if w.c.done(w.now) {
		t.Error("left without trying to acknowledge")
	}
	w.pass(farewellMax)
	if !w.c.done(w.now) {
		t.Error("still waits for the node")
	}
}

func TestWorkerEnded(t *testing.T) {
	w := newWorld(t, false)
	w.pass(2 * time.Second)
	w.trace, w.obedient, w.deny = nil, false, gone
	w.pass(20 * time.Second)
	w.check(`
		  5.0s beat 2 OK refused
		  5.0s end kill=false
		 15.0s end kill=true
		 15.0s exit -1SIGKILL`)
	if !w.c.done(w.now) || !w.c.ended {
		t.Errorf("done %v ended %v, want both", w.c.done(w.now), w.c.ended)
	}
}

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
	w.command("c1", "beat-now")
	w.check(`
		  2.0s order beat-now
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
	w.commands = []msg.AgentCommand{{ID: "c1", Kind: "beat-now"}}
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
