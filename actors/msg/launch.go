package msg

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// Address names an actor on this node: its protoactor ID. A reply address may be a future's.
type Address string

// SiteAddress is the address of a site's actor.
func SiteAddress(site epu.SiteID) Address { return Address("provisioner/site-" + string(site)) }

// ControllerAddress is the address of a pool's controller.
func ControllerAddress(owner epu.Owner, pool epu.PoolID) Address {
	return Address("controllers/" + string(owner) + "." + string(pool))
}

// WorkerAddress is the address of a worker's actor, a child of its controller.
func WorkerAddress(owner epu.Owner, pool epu.PoolID, worker epu.WorkerID) Address {
	return ControllerAddress(owner, pool) + Address("/"+string(worker))
}

// The launch protocol. Each message is a function of its sender's durable state at a revision and is
// repeated until the other side shows it done, so a lost, doubled or reordered one is harmless. One of
// another epoch is dropped.

// Want is sent by a controller to the site of a launch until a Report shows it done: a record of the
// launch exists and every slot of Ended is ending or gone. The site answers with Report.
type Want struct {
	Epoch  epu.Epoch
	Owner  epu.Owner
	Pool   epu.PoolID
	Launch epu.LaunchID
	N      int
	Spec   epu.LaunchSpec
	Name   string            // of a unique worker; N is then 1
	Vars   map[string]string // of the unique worker
	Adopt  epu.InstanceID    // take in this machine instead of launching one; N is then 1
	Ended  []int             // slots no longer wanted, ascending; only grows
	Rev    epu.Revision      // of the pool's stream

	Protected bool // the pool is to be left alone by terminate-all, unless that says otherwise
}

// Slot is one slot of a launch as its site knows it.
type Slot struct {
	State    epu.State
	Instance epu.InstanceID `json:",omitempty"`
	Zone     string         `json:",omitempty"`
	Address  string         `json:",omitempty"`
	Reason   string         `json:",omitempty"` // why it failed or ended
	Kind     string         `json:",omitempty"` // of the error that failed it: capacity, quota, ...
	Ended    bool           `json:",omitempty"` // the site knows that it is unwanted
}

// Report is sent by a site to a launch's controller until Noted with the same revision comes back. A
// report without a record behind it (Rev 0) answers a Want whose slots are all ended: nothing exists.
type Report struct {
	Epoch  epu.Epoch
	Site   epu.SiteID
	Launch epu.LaunchID
	Rev    epu.Revision // of the site's stream at the launch's last change
	Slots  []Slot
	Closed bool // no machine can appear for it any more
}

// Noted is a controller's answer to Report, once what it learned is durable. A controller that has no
// such launch (any more) answers too.
type Noted struct {
	Epoch   epu.Epoch
	Owner   epu.Owner
	Pool    epu.PoolID
	Launch  epu.LaunchID
	Rev     epu.Revision // the report's
	PoolRev epu.Revision // of the pool's stream
	Known   bool         // the controller still has the launch
}

// SyncQuery is a controller's question whether the site has had a full listing since its activation,
// repeated until Synced. Nothing is ended at a site before that.
type SyncQuery struct {
	Epoch epu.Epoch
	Owner epu.Owner
	Pool  epu.PoolID
}

// Synced answers SyncQuery once a complete listing has been taken in.
type Synced struct {
	Epoch epu.Epoch
	Site  epu.SiteID
}

// OffersQuery is a controller's question what a site offers, repeated now and then. A site that has no
// prices answers too.
type OffersQuery struct{}

// Offers answers OffersQuery once the site has asked its cloud.
type Offers struct {
	Site   epu.SiteID
	Offers []epu.Offer   // immutable
	Charge time.Duration // machines there are charged for whole periods of it
}
