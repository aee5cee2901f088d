package actortest

import (
	"slices"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas"
)

// agent is the epu-agent of one simulated machine.
type agent struct {
	worker   epu.WorkerID
	failed   bool // its program fails
	mute     bool // it is not heard
	stopped  bool // it was told that its worker has ended
	draining bool
	drained  bool
	seq      uint64
	acked    []string
	busy     time.Time // end of its lease
	idle     time.Time // since when it has no work
}

// Busy makes the program of a machine's worker hold a lease; at its end it is idle.
func (f *Fleet) Busy(id epu.InstanceID, lease time.Duration) {
	f.agent(id).busy = f.Now().Add(lease)
	f.agent(id).idle = f.agent(id).busy
}

// Mute silences a machine's agent; Unmute lets it be heard again.
func (f *Fleet) Mute(id epu.InstanceID) { f.agent(id).mute = true }

// Unmute lets a machine's agent be heard again.
func (f *Fleet) Unmute(id epu.InstanceID) { f.agent(id).mute = false }

// Fail makes the program of a machine's worker fail.
func (f *Fleet) Fail(id epu.InstanceID) { f.agent(id).failed = true }

func (f *Fleet) agent(id epu.InstanceID) *agent {
	a := f.agents[id]
	if a == nil {
		a = &agent{}
		f.agents[id] = a
	}
	return a
}

// beat lets every machine's agent check in or beat.
func (f *Fleet) beat() {
	f.After(f.Pool.Health.Heartbeat, f.beat)
	if !f.Up() || f.Deaf {
		return
	}
	for _, m := range f.Living() {
		if a := f.agent(m.ID); m.State == iaas.InstanceRunning && !a.mute && !a.stopped {
			f.beatOf(m, a)
		}
	}
}

func (f *Fleet) beatOf(m Machine, a *agent) {
	self := msg.Address("agent/" + m.ID)
	f.SpawnPlain(self, func(x any, _ msg.Address) { a.hear(x) })
	to := msg.WorkerAddress(epu.DefaultOwner, f.Pool.Name, a.worker)
	if a.worker == "" || f.workers[to] == nil { // nobody knows its token: it checks in anew
		f.Send(f.controllerAddress(), self, msg.CheckInWorker{Launch: epu.LaunchID(m.Tags[iaas.TagLaunch]), Instance: m.ID})
		return
	}
	a.seq++
	b := msg.Beat{
		Worker: a.worker, Instance: m.ID, Seq: a.seq, State: "OK", Acked: slices.Clone(a.acked),
		Draining: a.draining, Drained: a.drained,
	}
	if a.failed {
		b.State = "PROCESS_ERROR"
	}
	b.BusyUntilSeconds = max(0, a.busy.Sub(f.Now()).Seconds())
	if !a.idle.IsZero() {
		b.IdleSeconds = max(0, f.Now().Sub(a.idle).Seconds())
	}
	a.drained = a.draining && b.BusyUntilSeconds == 0 // its program stops until the next beat
	f.Send(to, self, msg.BeatReceived{Worker: a.worker, At: f.Now(), Beat: b})
}

// hear takes in an answer.
func (a *agent) hear(m any) {
	switch m := m.(type) {
	case msg.WorkerCheckedIn:
		if a.worker != m.Worker {
			a.worker, a.draining, a.drained, a.acked = m.Worker, false, false, nil
		}
	case msg.Refused:
		a.stopped = a.stopped || epu.KindOf(m.Err) == epu.NotFound
	case msg.AgentOrders:
		a.stopped = a.stopped || m.Gone
		a.acked = nil
		for _, o := range m.Commands {
			a.acked = append(a.acked, o.ID)
			switch o.Kind {
			case "drain":
				a.draining = true
			case "cancel-drain":
				a.draining, a.drained = false, false
			}
		}
	}
}
