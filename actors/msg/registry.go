package msg

import "github.com/nimbus-epu/epu"

// PoolEntry is a pool as last applied, with its deployable type resolved for every site it names.
type PoolEntry struct {
	Spec     epu.PoolSpec                  `json:"spec"`
	Launches map[epu.SiteID]epu.LaunchSpec `json:"launches"`
	Version  string                        `json:"version,omitempty"` // hash of the policy that the spec pins; empty = it pins none
	Gen      uint64                        `json:"gen"`               // of the registry at its last change
	ConfGen  uint64                        `json:"conf_gen"`          // of its policy configuration
	Removing bool                          `json:"removing,omitempty"`
}

// Sender is who gave a command, for the audit.
type Sender struct {
	ID   string // of the command: who repeats it keeps it
	User string
	From string // the address that it came from; empty = this node
}

// Audit adds the sender to what an audit record holds, and gives it back.
func (s Sender) Audit(data map[string]any) map[string]any {
	if data == nil {
		data = map[string]any{}
	}
	data["command"], data["user"] = s.ID, s.User
	if s.From != "" {
		data["from"] = s.From
	}
	return data
}

// ApplySpecs is sent by the gateway to the registry once files have been read, checked and resolved.
// The answer is *Done, or Refused with kind conflict when the registry is not at Gen.
type ApplySpecs struct {
	Gen   uint64 // of the view that the plan was made from
	Pools []PoolEntry
	Sites []epu.SiteSpec
	Types []epu.TypeSpec
	Keep  []epu.PolicyVersion // of the node's library, that pools pin and the registry does not have
	Sender
}

// ApplyPolicy is sent by the gateway to the registry once a version of a policy has been checked with every
// pool that takes it. The answer is *Done, or Refused with kind conflict when the registry is not at Gen. A
// doubled one changes nothing.
type ApplyPolicy struct {
	Gen    uint64 // of the view that it was checked against
	Name   string
	Hash   string              // of the version to be in force; empty = what the node's library has
	Keep   []epu.PolicyVersion // to be kept with it, oldest first
	Action string              // for the audit: policy-apply, policy-rollback, policy-reload
	Before string              // hash of what was in force, for the audit
	Sender
}

// RemovePool orders a pool's workers to be drained and ended, and then the pool to be forgotten.
type RemovePool struct {
	Owner epu.Owner
	Pool  epu.PoolID
	Sender
}

// SwitchEndAll turns terminate-all on or off. It is absolute.
type SwitchEndAll struct {
	On           bool
	ProtectedToo bool
	Sender
}

// RegistryQuery asks the registry for its view; it is answered with RegistryView.
type RegistryQuery struct{}

// RegistryView is everything that operators applied. Its maps are shared: nobody may change them.
type RegistryView struct {
	Gen          uint64
	Pools        map[epu.PoolID]PoolEntry
	Sites        map[epu.SiteID]epu.SiteSpec
	Types        map[string]epu.TypeSpec
	Policies     map[string]epu.PolicyVersions // of which versions are kept, by name
	EndAll       bool
	ProtectedToo bool
	Left         map[epu.PoolID]int // machines not confirmed gone, as pools last said; absent = not heard since the start
}

// DefinedQuery asks the registry like RegistryQuery, but is answered only once the pool's controller has
// confirmed its newest definition; at once when there is no such pool. Whoever asks has a deadline.
type DefinedQuery struct{ Pool epu.PoolID }
