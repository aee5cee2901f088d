package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

// marker begins the JSON of an event in a line of the older form. A line counts if it has it once.
const marker = "CLOUDYVENT_JSON:"

// errNoForm: an event without a name, or with a line end in it, has no older form.
var errNoForm = errors.New("the event has no older form")

// Cloudyvent is one event in the older form, as its reader sees it.
type Cloudyvent struct {
	Source    string         `json:"eventsource"`
	Name      string         `json:"eventname"`
	Key       string         `json:"uniquekey"` // a UUID, the same whenever the same record is written
	Timestamp Timestamp      `json:"timestamp"`
	Extra     map[string]any `json:"extra"` // may be null
}

// Timestamp is a time in UTC in the older form.
type Timestamp struct {
	Year        int `json:"year"`
	Month       int `json:"month"`
	Day         int `json:"day"`
	Hour        int `json:"hour"`
	Minute      int `json:"minute"`
	Second      int `json:"second"`
	Microsecond int `json:"microsecond"`
}

// Time is the timestamp as a time.
func (t Timestamp) Time() time.Time {
	return time.Date(t.Year, time.Month(t.Month), t.Day, t.Hour, t.Minute, t.Second, t.Microsecond*1000, time.UTC)
}

// oldNames gives the source and name that the original's tools look for. What did not exist then keeps
// its name, with "epu" as its source.
var oldNames = map[string][2]string{
	"launch_opened":         {"controller", "new_launch"},
	"worker_pending":        {"provisioner", "new_node"},
	"worker_started":        {"provisioner", "node_started"},
	"worker_running":        {"provisioner", "launch_ctx_done"},
	"worker_running_failed": {"provisioner", "launch_ctx_error"},
	"worker_ended":          {"provisioner", "node_terminating"},
	"worker_terminated":     {"provisioner", "node_terminated"},
}

const newSource = "epu"

// encodeCloudyvent writes the line of an event.
func encodeCloudyvent(r persistence.Record) ([]byte, error) {
	if r.Name == "" || strings.ContainsAny(r.Name, "\r\n") {
		return nil, errNoForm
	}
	source, name := newSource, r.Name
	if old, ok := oldNames[r.Name]; ok {
		source, name = old[0], old[1]
	}
	at := r.Time.UTC()
	e := Cloudyvent{
		Source: source, Name: name, Key: uniqueKey(r.ID), Extra: extra(r),
		Timestamp: Timestamp{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond() / 1000},
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s WARNING %s%s\n", at.Format("2006-01-02 15:04:05,000"), marker, hideMarker(text)), nil
}

// extra is the event's own data with the original's keys added to it. Data that is no object is under
// the key "data".
func extra(r persistence.Record) map[string]any {
	var m map[string]any
	if len(r.Data) > 0 {
		d := json.NewDecoder(bytes.NewReader(r.Data))
		d.UseNumber() // large integers stay what they are
		if err := d.Decode(&m); err != nil {
			m = map[string]any{"data": string(r.Data)}
		}
	}
	if m == nil {
		m = map[string]any{}
	}
	if r.Pool != "" {
		m["pool"] = string(r.Pool)
	}
	add := func(key string, value any) {
		if _, taken := m[key]; !taken && value != nil {
			m[key] = value
		}
	}
	if worker, ok := m["worker"].(string); ok {
		add("node_id", worker)
		add("iaas_id", m["instance"])
		add("public_ip", m["address"])
		add("private_ip", m["address"])
		if launch, _, ok := epu.WorkerID(worker).Parse(); ok {
			add("launch_id", string(launch))
			add("node_ids", []string{worker})
		}
	}
	if launch, ok := m["launch"].(string); ok {
		add("launch_id", launch)
		add("new_instance_ids", slots(launch, m["n"]))
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// slotsMax bounds the workers that are named one by one.
const slotsMax = 10_000

// slots names the workers of a new launch.
func slots(launch string, count any) any {
	number, ok := count.(json.Number)
	if !ok {
		return nil
	}
	n, err := number.Int64()
	if err != nil || n < 0 || n > slotsMax {
		return nil
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(epu.NewWorkerID(epu.LaunchID(launch), i))
	}
	return ids
}

// uniqueKey is a UUID (version 8: our own making) of a record's ID, so that a reader who sees a record
// twice can tell.
func uniqueKey(id string) string {
	b := sha256.Sum256([]byte(id))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseCloudyvent reads a line by the rules of the original's reader: it is an event if the marker
// stands in it exactly once and JSON with a source and a name follows.
func ParseCloudyvent(line string) (e Cloudyvent, ok bool) {
	if strings.Count(line, marker) != 1 {
		return e, false
	}
	_, text, _ := strings.Cut(line, marker)
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Source == "" || e.Name == "" {
		return Cloudyvent{}, false
	}
	return e, !strings.ContainsAny(e.Source+e.Name, "\r\n")
}
