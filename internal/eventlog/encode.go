package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/document"
	"github.com/nimbus-epu/epu/persistence"
)

// recordLine is a record in the file: the fields of msg.EventRecord and the owner. Names are a contract.
type recordLine struct {
	Schema string                 `json:"schema"`
	Type   string                 `json:"type"`
	ID     string                 `json:"id"`
	Kind   persistence.RecordKind `json:"kind"`
	Name   string                 `json:"name"`
	Owner  epu.Owner              `json:"owner"`
	Pool   epu.PoolID             `json:"pool"`
	Time   time.Time              `json:"time"`
	Data   json.RawMessage        `json:"data,omitempty"`
}

// encode writes the lines of a record.
func encode(r persistence.Record, cloudyvent bool) ([]byte, error) {
	line, err := json.Marshal(recordLine{
		Schema: document.Schema, Type: "event-record",
		ID: r.ID, Kind: r.Kind, Name: r.Name, Owner: r.Owner, Pool: r.Pool, Time: r.Time.UTC(), Data: r.Data,
	})
	if err != nil {
		return nil, err
	}
	lines := append(hideMarker(line), '\n')
	if !cloudyvent || r.Kind != persistence.KindEvent {
		return lines, nil
	}
	older, err := encodeCloudyvent(r)
	if errors.Is(err, errNoForm) {
		return lines, nil
	}
	return append(lines, older...), err
}

// hideMarker spells the marker of the older form differently where it stands inside JSON text: its
// reader takes only lines that have it exactly once, and must take none that is not an event.
func hideMarker(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(marker), []byte(`CLOUDYVENT\u005fJSON:`))
}
