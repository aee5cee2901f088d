package faulty_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/faulty"
	"github.com/nimbus-epu/epu/iaas/sim"
)

// Goal: each fault does to the cloud and to the caller what it says, and nothing else.
// Method: one launch under each fault against the simulated cloud, whose truth can be counted.
func TestFaults(t *testing.T) {
	lost := faulty.Lost("launch")
	tests := []struct {
		name     string
		fault    faulty.Fault
		machines int // machines in the cloud afterwards
		calls    int // launches that reached it
		kind     epu.Kind
		ok       bool // the caller got an answer
	}{
		{name: "none", machines: 1, calls: 1, ok: true},
		{name: "before", fault: faulty.Fault{Before: lost}, kind: epu.UnknownOutcome},
		{name: "after", fault: faulty.Fault{After: lost}, machines: 1, calls: 1, kind: epu.UnknownOutcome},
		{name: "twice", fault: faulty.Fault{Twice: true}, machines: 1, calls: 2, ok: true},
		{name: "late", fault: faulty.Fault{Late: true}, kind: epu.UnknownOutcome},
		{
			name: "held and given up", kind: epu.Transient,
			fault: faulty.Fault{Hold: func(context.Context) error { return epu.E(epu.Transient, "launch", "", errors.New("slow")) }},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud, p := behind(tt.fault)
			got, err := p.Launch(t.Context(), request("t-1"))
			if tt.ok != (err == nil) || len(got) > 0 != tt.ok {
				t.Fatalf("got %v, %v; want an answer: %v", got, err, tt.ok)
			}
			if err != nil && epu.KindOf(err) != tt.kind {
				t.Errorf("got an error of kind %v, want %v", epu.KindOf(err), tt.kind)
			}
			if n := len(cloud.Machines()); n != tt.machines {
				t.Errorf("got %d machines, want %d", n, tt.machines)
			}
			if n := cloud.Calls()["launch"]; n != tt.calls {
				t.Errorf("got %d launches at the cloud, want %d", n, tt.calls)
			}
		})
	}
}

// Goal: a late call takes effect when delivered, even though its caller's context has ended, and a
// dropped one never does.
// Method: two late launches and a late termination whose slice is overwritten, delivered out of order.
func TestLateCalls(t *testing.T) {
	cloud, p := behind(faulty.Fault{Late: true})
	ctx, cancel := context.WithCancel(t.Context())
	for _, token := range []epu.Token{"first", "second"} {
		if _, err := p.Launch(ctx, request(token)); epu.KindOf(err) != epu.UnknownOutcome {
			t.Fatalf("got %v, want an unknown outcome", err)
		}
	}
	cancel()
	calls := p.InFlight()
	if len(calls) != 2 || calls[1].On != "second" || calls[1].Op != "launch" {
		t.Fatalf("got %+v in flight, want both launches in order", calls)
	}
	if !p.Deliver(calls[1].Seq) || !p.Drop(calls[0].Seq) || p.Deliver(calls[0].Seq) {
		t.Fatal("a call could not be delivered or dropped exactly once")
	}
	ms := cloud.Machines()
	if len(ms) != 1 || ms[0].Token != "second" {
		t.Fatalf("got %+v, want one machine of the second launch", ms)
	}
	ids := []epu.InstanceID{ms[0].ID}
	if err := p.Terminate(t.Context(), ids); epu.KindOf(err) != epu.UnknownOutcome {
		t.Fatalf("got %v, want an unknown outcome", err)
	}
	ids[0] = "i-other"
	if !cloud.Machines()[0].Alive() {
		t.Fatal("a termination that has not been delivered took effect")
	}
	p.Deliver(p.InFlight()[0].Seq)
	if cloud.Machines()[0].Alive() {
		t.Error("the machine lives after the late termination arrived")
	}
	if _, err := p.List(t.Context(), iaas.ListRequest{}); epu.KindOf(err) != epu.Transient {
		t.Errorf("got %v of a late listing, want a transient error", err)
	}
}

func behind(f faulty.Fault) (*sim.Cloud, *faulty.Provider) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cloud := sim.New(1, func() time.Time { return now }, sim.Options{})
	return cloud, faulty.New(cloud, func(string) faulty.Fault { return f })
}

func request(token epu.Token) iaas.LaunchRequest {
	return iaas.LaunchRequest{Token: token, Min: 1, Max: 1, Image: "ami-1"}
}
