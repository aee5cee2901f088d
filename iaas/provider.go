package iaas

import (
	"context"
	"time"

	"github.com/nimbus-epu/epu"
)

// Tag keys on every machine, set by the creating call itself.
const (
	TagInstallation = "epu:installation"
	TagEpoch        = "epu:epoch"
	TagSite         = "epu:site"
	TagOwner        = "epu:owner"
	TagKeeper       = "epu:keeper"
	TagLaunch       = "epu:launch"
)

// LaunchRequest asks for machines. Its JSON form is what a site keeps and digests, so the field order
// and names are stable, and equal requests have equal bytes.
type LaunchRequest struct {
	Token      epu.Token          `json:"token"` // 1 to 64 characters of [A-Za-z0-9-]
	Min        int                `json:"min"`   // fewer than this: none, with an error of kind Capacity or Quota
	Max        int                `json:"max"`
	Image      string             `json:"image"` // of the local site: path of a program
	Args       []string           `json:"args,omitempty"`
	Allocation epu.Allocation     `json:"allocation,omitempty"`
	Market     epu.Market         `json:"market,omitempty"`
	Zone       string             `json:"zone,omitempty"`
	Vars       map[string]epu.Var `json:"vars,omitempty"`      // environment of the program; secrets as references
	UserData   string             `json:"user_data,omitempty"` // what the machine's agent reads first
	Tags       map[string]string  `json:"tags,omitempty"`
}

// Instance is one machine as the cloud sees it.
type Instance struct {
	ID         epu.InstanceID
	Token      epu.Token // of the launch that made it
	State      InstanceState
	Image      string
	Allocation epu.Allocation
	Market     epu.Market
	Zone       string
	Address    string // empty until known
	Launched   time.Time
	Tags       map[string]string
	Reason     string // why it ended, in the cloud's words: "exit status 3", "Server.SpotInstanceTermination"
}

// InstanceState is a machine's state in the cloud's view.
type InstanceState int

// The states of machines. Zero is not a state.
const (
	InstancePending InstanceState = iota + 1
	InstanceRunning
	InstanceStopping // on its way out
	InstanceTerminated
)

// String is the state's word.
func (s InstanceState) String() string {
	switch s {
	case InstancePending:
		return "pending"
	case InstanceRunning:
		return "running"
	case InstanceStopping:
		return "stopping"
	case InstanceTerminated:
		return "terminated"
	}
	return "unknown"
}

// ListRequest selects machines: by ID where IDs are given, else all that carry every given tag.
type ListRequest struct {
	IDs  []epu.InstanceID
	Tags map[string]string
}

// Offer is one thing that can be bought now; a provider leaves its Site empty.
type Offer = epu.Offer

// Notice announces the coming end of a machine.
type Notice struct {
	Instance epu.InstanceID
	Kind     string // "interruption" or "rebalance"
	At       time.Time
}

// Problem is one finding of Validate.
type Problem struct {
	Subject string // such as "image ami-0abc"
	Text    string
	Try     string
}

// Provider is one cloud account and region, or one machine's processes. Every method takes a context
// with a deadline, may be called from many goroutines, never retries, and returns errors as *epu.Error
// with one of the kinds Capacity, Quota, Throttled, Denied, Invalid, NotFound, Conflict, Transient or
// UnknownOutcome (a call cut off by its deadline is UnknownOutcome for Launch and Terminate).
type Provider interface {
	// Launch creates between Min and Max machines, all carrying the tags from their birth. The same
	// token with the same request again returns the machines of the first call, whatever became of
	// them, and creates none; with another request it is Conflict. A token whose machines are all
	// terminated may answer Conflict. Any error but UnknownOutcome says that this call created nothing.
	Launch(ctx context.Context, req LaunchRequest) ([]Instance, error)
	// List returns a complete answer or an error, never a part. A machine created less than the
	// visibility window ago may be missing, and states may be as old as that window; a terminated one
	// may be listed for an hour, or not at all. Given IDs that are unknown are left out of the answer.
	List(ctx context.Context, req ListRequest) ([]Instance, error)
	// Terminate begins the end of the machines. Repeating it and naming unknown or ended machines is no
	// error; each machine is independent of the others. Only a listing shows that one is gone.
	Terminate(ctx context.Context, ids []epu.InstanceID) error
	// Offers lists prices per allocation, zone and market. A provider without prices returns none.
	Offers(ctx context.Context) ([]Offer, error)
	// Notices returns the interruption notices now in force.
	Notices(ctx context.Context) ([]Notice, error)
	// Validate checks credentials, image, allocation and network without launching, and returns all
	// problems at once.
	Validate(ctx context.Context, req LaunchRequest) ([]Problem, error)
}
