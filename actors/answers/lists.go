package answers

import (
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
)

// Instance is a worker as its controller sees it.
func Instance(pool epu.PoolID, w *epu.Worker) *msg.Instance {
	i := &msg.Instance{
		Worker: string(w.ID), Pool: string(pool), Name: w.Name, Instance: string(w.Instance), Site: string(w.Site),
		Zone: w.Zone, Allocation: string(w.Allocation), Market: string(w.Market), State: w.State.String(),
		StateSince: timestamppb.New(w.StateSince), Health: w.Health.String(), Suspect: w.Suspect, Draining: w.Draining,
		Ended: w.Ended, EndReason: w.EndReason, Address: w.Address, Created: timestamppb.New(w.Created), Error: w.Error,
		Vars: w.Vars, Protected: w.Protected, UsdPerHour: w.Price, Replacing: w.Replacing,
	}
	if !w.BusyUntil.IsZero() {
		i.BusyUntil = timestamppb.New(w.BusyUntil)
	}
	if !w.IdleSince.IsZero() {
		i.IdleSince = timestamppb.New(w.IdleSince)
	}
	return i
}

// Event is a life-cycle event or audit record as it goes to those who watch.
func Event(r persistence.Record) *msg.EventRecord {
	e := &msg.EventRecord{Id: r.ID, Kind: string(r.Kind), Name: r.Name, Pool: string(r.Pool), Time: timestamppb.New(r.Time)}
	data := &structpb.Struct{}
	if len(r.Data) > 0 && data.UnmarshalJSON(r.Data) == nil {
		e.Data = data
	}
	return e
}
