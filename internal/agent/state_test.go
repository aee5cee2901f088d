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
	says     said               // the program, of itself
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
	case readStatus:
		w.c.statusRead(w.now, w.says)
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
	if b.BusyUntilSeconds > 0 {
		s += fmt.Sprintf(" busy=%.0fs", b.BusyUntilSeconds)
	}
	if b.IdleSeconds > 0 {
		s += fmt.Sprintf(" idle=%.0fs", b.IdleSeconds)
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
