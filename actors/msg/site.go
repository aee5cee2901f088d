package msg

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// SiteDefine is sent by the registry to a site when its definition or the launching switch changed,
// until SiteDefined with the same generation comes back.
type SiteDefine struct {
	Spec     epu.SiteSpec
	Disabled bool // launching is switched off, but for protected pools
	Gen      uint64
	Epoch    epu.Epoch // of the store; a higher one than the site's ends its recovery

	ProtectedToo bool // when Disabled: protected pools don't launch either
}

// SiteDefined answers SiteDefine.
type SiteDefined struct {
	Site epu.SiteID
	Gen  uint64
}

// SiteQuery asks a site for its view; it is answered with SiteView.
type SiteQuery struct{}

// SiteView is what a site tells people.
type SiteView struct {
	Spec        epu.SiteSpec
	Disabled    bool
	Recovery    bool
	Synced      bool
	Instances   int       // machines of ours that are there or may come
	Stuck       int       // endings older than they should be
	StuckSince  time.Time // the oldest of them was begun, in this life of the site's actor
	Started     time.Time // this life of the site's actor
	FaultSince  time.Time // listings have failed since; zero when the last one went well
	Condemned   int
	LastListing time.Time
	Fault       string // of the newest failed listing or call; empty when the last one went well
	Strays      []StrayView
}

// StrayView is a machine with our tags that no record explains.
type StrayView struct {
	Instance  epu.InstanceID
	Launch    epu.LaunchID
	Owner     epu.Owner
	Pool      epu.PoolID
	Why       string
	Condemned bool      // it is being ended; otherwise it is only listed
	Since     time.Time // it was first listed, in this life of the site's actor; zero = not known
	Slotted   bool      // it stands in a launch's slot that its pool does not know, so SiteView.Instances counts it
}

// SweepSite orders the end of stray machines. The answer is Swept.
type SweepSite struct {
	Instances []epu.InstanceID
}

// Swept answers SweepSite with what was condemned and what is no stray.
type Swept struct {
	Condemned []epu.InstanceID
	Refused   []epu.InstanceID
}

// RecoveryEnded tells the registry that the operator has decided about every machine, and that the store has
// begun a new epoch: lost lives of it may have used names of the old one that it does not know. Controllers
// and sites hear of it with their definitions. It is answered with *Done.
type RecoveryEnded struct{ Epoch epu.Epoch }
