package agent

// Goal: whatever happens in whatever order, the core keeps its promises.
// Method: rapid drives the core with random facts and times and compares it with a dumb count of what was
// ordered and said.

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
	"pgregory.net/rapid"
)

// model is the dumb side: it only counts.
type model struct {
	t       *rapid.T
	c       *core
	now     time.Time
	alive   int // programs started and not ended
	starts  int // asked for and not answered
	checkIn bool
	beat    *sendBeat
	poll    *sendPoll
	seq     uint64
	failed  int             // failures that happened
	unsaid  map[string]bool // their words, until an answered beat had them
	said    map[string]bool
}

func (m *model) settle() {
	for round := 0; ; round++ {
		todo := m.c.step(m.now)
		if len(todo) == 0 {
			break
		}
		if round > 50 {
			m.t.Fatalf("the core does not come to rest: %T %+v", todo[0], todo[0])
		}
		for _, a := range todo {
			m.act(a)
		}
	}
	if at := m.c.next(); !at.IsZero() && !at.After(m.now) && !m.c.done(m.now) {
		m.t.Fatalf("at %v the core asks for %v and does nothing", m.now, at)
	}
}

func (m *model) act(a action) {
	switch a := a.(type) {
	case startProgram:
		m.starts++
		if m.alive+m.starts > 1 {
			m.t.Fatal("a second copy of the program is started")
		}
	case endProgram:
		if m.alive != 1 {
			m.t.Fatal("a program that does not run is ended")
		}
	case sendCheckIn:
		if m.checkIn || m.beat != nil {
			m.t.Fatal("two requests at once")
		}
		m.checkIn = true
	case sendBeat:
		if m.checkIn || m.beat != nil {
			m.t.Fatal("two requests at once")
		}
		m.beat = &a
		m.checkBeat(a.Beat)
	case sendPoll:
		if m.poll != nil {
			m.t.Fatal("two polls at once")
		}
		m.poll = &a
	}
}

func (m *model) checkBeat(b msg.Beat) {
	if m.seq++; b.Seq != m.seq {
		m.t.Fatalf("seq %d after %d", b.Seq, m.seq-1)
	}
	for _, f := range b.Failed {
		if f.Stderr != "" && m.said[f.Stderr] {
			m.t.Fatalf("%q is told again after an answer", f.Stderr)
		}
	}
	if b.Drained && (m.alive > 0 || m.starts > 0) {
		m.t.Fatal("drained, but the program runs")
	}
	if text, err := json.Marshal(b); err != nil || len(text) > msg.AgentBodyMax {
		m.t.Fatalf("beat of %d bytes: %v", len(text), err)
	}
}

// hostile is a text that JSON must escape at six bytes for one; its beginning tells it from others.
func (m *model) hostile(n int) string {
	return fmt.Sprintf("%06d", m.failed) + strings.Repeat("\x01", n)
}

func (m *model) answerBeat(reply msg.BeatReply) {
	for _, f := range m.beat.Beat.Failed {
		if f.Stderr != "" {
			m.said[f.Stderr] = true
			delete(m.unsaid, f.Stderr)
		}
	}
	m.beat = nil
	m.c.beatAnswered(m.now, reply)
}

func outcomes(t *rapid.T, of ...outcome) outcome { return rapid.SampledFrom(of).Draw(t, "outcome") }

func TestCoreKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, now: time.Unix(1e9, 0), unsaid: map[string]bool{}, said: map[string]bool{}}
		m.c = newCore("i-1", testUser, rapid.Bool().Draw(t, "drain command"), m.now, func() float64 { return 0.3 })
		m.settle()
		commands := func() (r msg.BeatReply) {
			kinds := []string{"beat", "drain", "cancel-drain", "drain", "cancel-drain", "sing"}
			for range rapid.IntRange(0, 2).Draw(t, "commands") {
				r.Commands = append(r.Commands, msg.AgentCommand{
					ID: rapid.StringMatching(`[<]{63}[a-z]`).Draw(t, "id"), Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
				})
			}
			return r
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 70_000).Draw(t, "ms")) * time.Millisecond)
				m.settle()
			},
			"next": func(t *rapid.T) {
				if at := m.c.next(); at.After(m.now) {
					m.now = at
				}
				m.settle()
			},
			"start": func(t *rapid.T) {
				if m.starts == 0 {
					t.Skip()
				}
				m.starts--
				if rapid.IntRange(0, 4).Draw(t, "fails") > 0 {
					m.alive++
					m.c.started(m.now, 0)
				} else {
					m.c.startFailed(m.now, 0, strings.Repeat("\x01", 2000), rapid.Bool().Draw(t, "ours"))
				}
				m.settle()
			},
			"exit": func(t *rapid.T) {
				if m.alive == 0 {
					t.Skip()
				}
				m.alive--
				m.failed++
				words := m.hostile(rapid.IntRange(0, 8<<10-6).Draw(t, "words"))
				before := len(m.c.report.queue)
				m.c.exited(m.now, 0, failure{Status: 1, Stderr: words})
				if len(m.c.report.queue) > before {
					m.unsaid[words] = true
				}
				m.settle()
			},
			"drain command ends": func(t *rapid.T) {
				if !m.c.programs[0].draining {
					t.Skip()
				}
				m.c.drainCommandEnded(0, rapid.Bool().Draw(t, "ok"))
				m.settle()
			},
			"check-in": func(t *rapid.T) {
				if !m.checkIn {
					t.Skip()
				}
				m.checkIn = false
				if rapid.Bool().Draw(t, "ok") {
					m.c.checkedIn(m.now, testCheckedIn)
				} else {
					m.c.checkInFailed(m.now, outcomes(t, away, tooEarly, denied))
				}
				m.settle()
			},
			"beat": func(t *rapid.T) {
				if m.beat == nil {
					t.Skip()
				}
				if rapid.IntRange(0, 2).Draw(t, "ok") > 0 {
					m.answerBeat(commands())
				} else {
					m.beat = nil
					m.c.beatFailed(m.now, outcomes(t, away, denied))
				}
				m.settle()
			},
			"poll": func(t *rapid.T) {
				if m.poll == nil {
					t.Skip()
				}
				token := m.poll.Token
				m.poll = nil
				if rapid.Bool().Draw(t, "ok") {
					m.c.pollAnswered(m.now, commands())
				} else {
					m.c.pollFailed(m.now, token, outcomes(t, away, denied))
				}
				m.settle()
			},
		})
		m.finish()
	})
}

// finish lets everything succeed: whatever was not lost to the bound is said, and a stop ends it.
func (m *model) finish() {
	kept := len(m.c.report.queue)
	for range 60 {
		if m.checkIn {
			m.checkIn = false
			m.c.checkedIn(m.now, testCheckedIn)
		}
		if m.beat != nil {
			m.answerBeat(msg.BeatReply{})
		}
		if at := m.c.next(); at.After(m.now) {
			m.now = at
		}
		m.settle()
	}
	if len(m.c.report.queue) != 0 {
		m.t.Fatalf("%d failures are still unsaid", len(m.c.report.queue))
	}
	if m.failed < failuresKeptMax && len(m.unsaid) != 0 {
		m.t.Fatalf("%d of %d failures were lost, %d were kept", len(m.unsaid), m.failed, kept)
	}
	m.c.stop(m.now, stopGrace)
	end := m.now.Add(stopGrace + unkillable + farewellMax)
	for !m.c.done(m.now) {
		if m.beat != nil {
			m.answerBeat(msg.BeatReply{})
		}
		at := m.c.next()
		if at.IsZero() || at.After(end) {
			m.t.Fatalf("not done %v after the stop", stopGrace+unkillable+farewellMax)
		}
		if at.After(m.now) {
			m.now = at
		}
		m.settle()
	}
}

func TestRetryDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, r := rapid.IntRange(1, 1000).Draw(t, "n"), rapid.Float64Range(0, 0.999).Draw(t, "r")
		d := retryDelay(n, func() float64 { return r })
		if d < retryDelayMin/2 || d > retryDelayMax {
			t.Fatalf("retry %d: got %v", n, d)
		}
	})
}

// The biggest beat that the bounds allow still fits into what a node reads.
func TestWorstBeatFits(t *testing.T) {
	w := newWorld(t, false)
	w.pass(0)
	w.up = false
	for i := range failuresKeptMax + 5 {
		p := w.c.programs[0]
		p.phase = running
		w.c.exited(w.now, 0, failure{Status: -1, Signal: "SIGKILL", Error: strings.Repeat("\x01", errorTextMax), Stderr: strings.Repeat("\x01", 8<<10)})
		w.c.report.ack(fmt.Sprintf("%s%02d", strings.Repeat("<", commandIDMax-2), i))
	}
	for i := range 2 * acksMax {
		w.c.report.ack(fmt.Sprintf("%s%03d", strings.Repeat("<", commandIDMax-3), i))
	}
	w.c.monitorFailed(w.now, strings.Repeat("\x01", 9999))
	b := w.c.report.beat(w.now, w.c.programs, "epu-web-1-7/0", "i-1")
	text, err := json.Marshal(b)
	if err != nil || len(text) > msg.AgentBodyMax {
		t.Errorf("got %d bytes, %d failures, %v; want at most %d", len(text), len(b.Failed), err, msg.AgentBodyMax)
	}
	t.Logf("worst beat: %d bytes", len(text))
}
