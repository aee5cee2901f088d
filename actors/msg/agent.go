package msg

import (
	"time"

	"github.com/nimbus-epu/epu"
)

// The agent's HTTP endpoints on the node. Requests and answers are JSON, at most AgentBodyMax bytes;
// every request but check-in carries "Authorization: Bearer <worker token>". Status 401 means that the
// token is not valid, 410 that the worker has ended: the agent then stops its programs and exits.
// 503 and a failed connection mean "try again later": programs go on.
const (
	AgentCheckInPath  = "/v1/agent/checkin"
	AgentBeatPath     = "/v1/agent/beat"
	AgentCommandsPath = "/v1/agent/commands" // long poll: GET ?wait=30s&after=<last command ID>
	AgentBodyMax      = 256 << 10
)

// UserData is what a machine's agent reads first: the JSON in the file that EPU_USER_DATA names.
type UserData struct {
	Nodes     []string     `json:"nodes"`     // base URLs of nodes, tried in order
	Bootstrap string       `json:"bootstrap"` // token for the launch, exchanged once per slot at check-in
	Launch    epu.LaunchID `json:"launch"`
	Heartbeat float64      `json:"heartbeat_seconds"`
	Run       []string     `json:"run"` // the program to supervise; its environment is the agent's own plus the worker's variables
	CAFile    string       `json:"ca_file,omitempty"`
}

// CheckIn is an agent's first message: it exchanges the launch's bootstrap token for its worker's own.
// Repeating it from the same instance gives the same worker and a valid token again.
type CheckIn struct {
	Bootstrap string         `json:"bootstrap"`
	Launch    epu.LaunchID   `json:"launch"`
	Instance  epu.InstanceID `json:"instance"` // the cloud's ID, as the machine knows it
}

// CheckedIn answers a CheckIn. Status 425 (too early) comes instead while the instance is not yet bound
// to a slot; the agent tries again after a second.
type CheckedIn struct {
	Worker           epu.WorkerID      `json:"worker"`
	Token            string            `json:"token"`
	Name             string            `json:"name,omitempty"` // of a unique worker
	Vars             map[string]string `json:"vars,omitempty"`
	HeartbeatSeconds float64           `json:"heartbeat_seconds"`
	DrainSeconds     float64           `json:"drain_seconds"`           // after a drain command the programs have this long
	DrainForever     bool              `json:"drain_forever,omitempty"` // as long as they need; DrainSeconds is then 0
	DrainCommand     []string          `json:"drain_command,omitempty"` // program that drains, instead of SIGTERM; empty = the agent's own setting
}

// ProcessReport is one process failure. A failure's identity is program, exit and time; Stderr is only
// in the first report of it.
type ProcessReport struct {
	Program    string  `json:"program"`
	ExitStatus int     `json:"exit_status"` // -1 when a signal ended it
	Signal     string  `json:"signal,omitempty"`
	Error      string  `json:"error,omitempty"` // it could not be started
	AgeSeconds float64 `json:"age_seconds"`     // since the failure, by the agent's monotonic clock
	Restarts   int     `json:"restarts"`
	Stderr     string  `json:"stderr,omitempty"` // tail, at most 8 KiB
}

// Beat is a heartbeat.
type Beat struct {
	Worker           epu.WorkerID    `json:"worker"`
	Instance         epu.InstanceID  `json:"instance"`
	Seq              uint64          `json:"seq"`             // counts beats of this agent process, from 1
	State            string          `json:"state"`           // "OK", "PROCESS_ERROR" or "MONITOR_ERROR"
	Error            string          `json:"error,omitempty"` // of MONITOR_ERROR
	Failed           []ProcessReport `json:"failed,omitempty"`
	Acked            []string        `json:"acked,omitempty"` // IDs of commands carried out or begun since the last answered beat
	Draining         bool            `json:"draining,omitempty"`
	Drained          bool            `json:"drained,omitempty"`            // programs have stopped after a drain: the machine may go
	BusyUntilSeconds float64         `json:"busy_until_seconds,omitempty"` // from now; 0 = not reported
	IdleSeconds      float64         `json:"idle_seconds,omitempty"`
}

// AgentCommand is an order to an agent. It stays pending, and is handed out again with every answer,
// until a beat acknowledges its ID.
type AgentCommand struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // "beat" | "drain" | "cancel-drain" | "stop"
}

// BeatReply answers a beat and the long poll.
type BeatReply struct {
	Commands         []AgentCommand `json:"commands,omitempty"`
	HeartbeatSeconds float64        `json:"heartbeat_seconds,omitempty"` // new period; 0 = unchanged
}

// BeatReceived carries a beat from the gateway to its worker, with the arrival time of the node's
// clock. Lost or doubled: the next one says the same.
type BeatReceived struct {
	Worker epu.WorkerID
	At     time.Time
	Beat   Beat
}
