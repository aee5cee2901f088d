package persistence

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nimbus-epu/epu"
)

// The bounds of what a journal takes. All adapters share them, so that a state which fits one store
// fits every store.
const (
	StreamIDMax = 512       // bytes of a stream's ID
	EventMax    = 256 << 10 // bytes of one event's data
	AppendMax   = 512 << 10 // bytes of all events' data in one append
	SnapshotMax = 32 << 20  // bytes of a snapshot's state
)

// CheckAppend is what every adapter checks of an append before it looks at the store. A failure is a
// mistake of the caller, of kind Invalid, and never depends on the store.
func CheckAppend(stream epu.StreamID, events []Event) error {
	if err := checkStream("append", stream); err != nil {
		return err
	}
	sum := 0
	for i := range events {
		ev := &events[i]
		sum += len(ev.Data)
		var why error
		switch {
		case ev.Type == "" || ev.ID == "":
			why = fmt.Errorf("event %q with ID %q: both are needed", ev.Type, ev.ID)
		case len(ev.Data) > EventMax:
			why = fmt.Errorf("event %q has %d bytes of data, at most %d fit", ev.Type, len(ev.Data), EventMax)
		case len(ev.Data) > 0 && !json.Valid(ev.Data):
			why = fmt.Errorf("event %q: data is not JSON", ev.Type)
		case ev.Time.UTC().Year() < 0 || ev.Time.UTC().Year() > 9999:
			why = fmt.Errorf("event %q is of the year %d, which JSON can't hold", ev.Type, ev.Time.UTC().Year())
		case sum > AppendMax:
			why = fmt.Errorf("%d events have over %d bytes of data", len(events), AppendMax)
		}
		if why != nil {
			return epu.E(epu.Invalid, "append", string(stream), why)
		}
	}
	return nil
}

// CheckSnapshot is what every adapter checks of a snapshot before it looks at the store.
func CheckSnapshot(stream epu.StreamID, state json.RawMessage) error {
	if err := checkStream("snapshot", stream); err != nil {
		return err
	}
	switch {
	case len(state) > SnapshotMax:
		return epu.E(epu.Invalid, "snapshot", string(stream), fmt.Errorf("%d bytes, at most %d fit", len(state), SnapshotMax))
	case !json.Valid(state):
		return epu.E(epu.Invalid, "snapshot", string(stream), errors.New("state is not JSON"))
	}
	return nil
}

func checkStream(op string, stream epu.StreamID) error {
	if stream == "" || len(stream) > StreamIDMax || strings.ContainsRune(string(stream), 0) {
		return epu.E(epu.Invalid, op, fmt.Sprintf("%q", stream), fmt.Errorf("a stream's ID has 1 to %d bytes, none of them zero", StreamIDMax))
	}
	return nil
}

// Conflictf makes the error of a refused compare-and-swap: an ErrConflict that says what stands.
func Conflictf(op string, stream epu.StreamID, format string, args ...any) error {
	return epu.E(epu.Conflict, op, string(stream), fmt.Errorf("%w: "+format, append([]any{ErrConflict}, args...)...))
}
