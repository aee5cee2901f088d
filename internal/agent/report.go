package agent

import (
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// The bounds that keep a beat under msg.AgentBodyMax even when every character must be escaped.
const (
	failuresPerBeatMax = 3   // with their tails of standard error; the rest follows in the next beat
	failuresKeptMax    = 16  // unanswered; the oldest are dropped, and a gap in Restarts shows it
	errorTextMax       = 512 // bytes
	nameMax            = 128 // bytes of a program's name
	acksMax            = 64  // a command whose acknowledgement found no room is handed out again
	commandIDMax       = 64  // bytes
	commandsKnownMax   = 256 // IDs remembered to carry out each command once
)

// failure is one end or failed start of a program.
type failure struct {
	Program  string
	Status   int
	Signal   string
	Error    string
	Stderr   string // dropped once it was in an answered beat
	At       time.Time
	Restarts int // restarts of this program in this agent's life before the failure
}

func (f *failure) report(now time.Time) msg.ProcessReport {
	return msg.ProcessReport{
		Program: f.Program, ExitStatus: f.Status, Signal: f.Signal, Error: f.Error,
		AgeSeconds: now.Sub(f.At).Seconds(), Restarts: f.Restarts, Stderr: f.Stderr,
	}
}

// report is what the node is told, and what of it the node has not yet answered.
type report struct {
	seq     uint64
	queue   []*failure // never in an answered beat; oldest first
	acks    []string
	known   []string // command IDs, oldest first
	monitor string   // why supervision failed; empty when it works
	mended  bool     // supervision works again; monitor stays until a beat with it was answered

	sent struct { // with the beat under way
		failures int // the first of queue
		acks     int // the first of acks
		monitor  bool
	}
}

func (r *report) failed(f *failure) {
	r.queue = append(r.queue, f)
	if extra := len(r.queue) - failuresKeptMax; extra > 0 {
		r.queue = slices.Delete(r.queue, 0, extra)
		r.sent.failures = max(0, r.sent.failures-extra)
	}
}

func (r *report) monitorFailed(why string) {
	r.monitor, r.mended, r.sent.monitor = cut(why, errorTextMax), false, false
}

func (r *report) monitorWorks() { r.mended = true }

func (r *report) knows(id string) bool { return slices.Contains(r.known, id) }

// know notes a command's ID and reports that it is new.
func (r *report) know(id string) bool {
	if r.knows(id) {
		return false
	}
	if len(r.known) == commandsKnownMax {
		r.known = slices.Delete(r.known, 0, 1)
	}
	r.known = append(r.known, id)
	return true
}

func (r *report) ack(id string) {
	if len(r.acks) < acksMax && !slices.Contains(r.acks, id) {
		r.acks = append(r.acks, id)
	}
}

// unsaid reports that something waits for an answered beat which no later beat would say by itself.
func (r *report) unsaid() bool { return len(r.queue) > 0 || len(r.acks) > 0 }

// beat makes the next heartbeat.
func (r *report) beat(now time.Time, programs []*program, worker epu.WorkerID, instance epu.InstanceID) msg.Beat {
	r.seq++
	r.sent.failures = min(len(r.queue), failuresPerBeatMax)
	r.sent.acks = len(r.acks)
	r.sent.monitor = r.monitor != ""
	b := msg.Beat{Worker: worker, Instance: instance, Seq: r.seq, State: stateOK, Acked: slices.Clone(r.acks)}
	for _, f := range r.queue[:r.sent.failures] {
		b.Failed = append(b.Failed, f.report(now))
	}
	for _, p := range programs {
		if p.failure == nil {
			continue
		}
		b.State = stateProcessError
		if !slices.Contains(r.queue, p.failure) { // repeated for a node that has forgotten
			b.Failed = append(b.Failed, p.failure.report(now))
		}
	}
	if r.monitor != "" {
		b.State, b.Error = stateMonitorError, r.monitor
	}
	return b
}

// answered forgets what the answered beat said once and for all.
func (r *report) answered() {
	for _, f := range r.queue[:r.sent.failures] {
		f.Stderr = ""
	}
	r.queue = slices.Delete(r.queue, 0, r.sent.failures)
	r.acks = slices.Delete(r.acks, 0, r.sent.acks)
	if r.sent.monitor && r.mended {
		r.monitor = ""
	}
	r.sent.failures, r.sent.acks, r.sent.monitor = 0, 0, false
}

// cut shortens a text to at most n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-3] + "..."
}
