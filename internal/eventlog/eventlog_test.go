package eventlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

var at = time.Date(2026, 11, 21, 14, 32, 5, 123456000, time.UTC)

func event(id, name, data string) persistence.Record {
	return persistence.Record{ID: id, Kind: persistence.KindEvent, Name: name, Owner: "default", Pool: "epu-web", Time: at, Data: json.RawMessage(data)}
}

func open(t *testing.T, opts Options) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, path
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, l *Log, r persistence.Record) {
	t.Helper()
	if err := l.Write(r); err != nil {
		t.Fatal(err)
	}
}

// Goal: both forms are contracts. Method: golden lines of one event, an audit record and a decision.
func TestLines(t *testing.T) {
	l, path := open(t, Options{Cloudyvent: true})
	write(t, l, event("01JD0000000000000000000001", "worker_started", `{"worker":"epu-web-1-7/0","instance":"i-1","address":"10.0.0.5","big":9007199254740993}`))
	audit := event("01JD0000000000000000000002", "scale", `{"user":"anna"}`)
	audit.Kind = persistence.KindAudit
	write(t, l, audit)
	decision := event("01JD0000000000000000000003", "", `{}`)
	decision.Kind = persistence.KindDecision
	write(t, l, decision)
	write(t, l, event("01JD0000000000000000000004", "launch_opened", `{"launch":"epu-web-1-7","n":2}`))
	want := `{"schema":"epu/v1","type":"event-record","id":"01JD0000000000000000000001","kind":"event","name":"worker_started","owner":"default","pool":"epu-web","time":"2026-11-21T14:32:05.123456Z","data":{"worker":"epu-web-1-7/0","instance":"i-1","address":"10.0.0.5","big":9007199254740993}}
2026-11-21 14:32:05,123 WARNING CLOUDYVENT_JSON:{"eventsource":"provisioner","eventname":"node_started","uniquekey":"` + uniqueKey("01JD0000000000000000000001") + `","timestamp":{"year":2026,"month":11,"day":21,"hour":14,"minute":32,"second":5,"microsecond":123456},"extra":{"address":"10.0.0.5","big":9007199254740993,"iaas_id":"i-1","instance":"i-1","launch_id":"epu-web-1-7","node_id":"epu-web-1-7/0","node_ids":["epu-web-1-7/0"],"pool":"epu-web","private_ip":"10.0.0.5","public_ip":"10.0.0.5","worker":"epu-web-1-7/0"}}
{"schema":"epu/v1","type":"event-record","id":"01JD0000000000000000000002","kind":"audit","name":"scale","owner":"default","pool":"epu-web","time":"2026-11-21T14:32:05.123456Z","data":{"user":"anna"}}
{"schema":"epu/v1","type":"event-record","id":"01JD0000000000000000000004","kind":"event","name":"launch_opened","owner":"default","pool":"epu-web","time":"2026-11-21T14:32:05.123456Z","data":{"launch":"epu-web-1-7","n":2}}
2026-11-21 14:32:05,123 WARNING CLOUDYVENT_JSON:{"eventsource":"controller","eventname":"new_launch","uniquekey":"` + uniqueKey("01JD0000000000000000000004") + `","timestamp":{"year":2026,"month":11,"day":21,"hour":14,"minute":32,"second":5,"microsecond":123456},"extra":{"launch":"epu-web-1-7","launch_id":"epu-web-1-7","n":2,"new_instance_ids":["epu-web-1-7/0","epu-web-1-7/1"],"pool":"epu-web"}}
`
	if diff := cmp.Diff(want, content(t, path)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Goal: a reader by the original's rules reads back every event that was written, and takes nothing else
// for one, whatever names and data hold. Method: random records, hostile ones among them.
func TestReaderReadsBackWhatWasWritten(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{marker, "x " + marker + "{}", "a\nb", "\u2028", `"`, "worker"}))
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		l, err := Open(path, Options{Cloudyvent: true})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		var lines int
		for i, name := range rapid.SliceOfN(text, 1, 8).Draw(t, "names") {
			data, err := json.Marshal(rapid.MapOf(text, text).Draw(t, "data"))
			if err != nil {
				t.Fatal(err)
			}
			r := event(fmt.Sprint("id", i), name, string(data))
			r.Time = time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time"))
			if rapid.Bool().Draw(t, "audit") {
				r.Kind = persistence.KindAudit
			}
			if err := l.Write(r); err != nil {
				t.Fatal(err)
			}
			lines++
			if r.Kind == persistence.KindEvent && name != "" && !strings.ContainsAny(name, "\r\n") {
				lines++
				want = append(want, uniqueKey(r.ID)+" "+strings.ToValidUTF8(name, "\ufffd")+" "+r.Time.UTC().String())
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		in := bufio.NewScanner(f)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			lines--
			if e, ok := ParseCloudyvent(in.Text()); ok {
				got = append(got, e.Key+" "+e.Name+" "+e.Timestamp.Time().String())
			} else if !json.Valid(in.Bytes()) {
				t.Fatalf("neither form: %q", in.Text())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || lines != 0 {
			t.Fatalf("%d lines too few; -want +got:\n%s", lines, diff)
		}
	})
}

// Goal: the file is bounded, lines are whole, and the newest survive. Method: many records, a small bound.
func TestRotation(t *testing.T) {
	l, path := open(t, Options{BytesMax: 1000})
	for i := range 100 {
		write(t, l, event(fmt.Sprintf("%03d", i), "worker_running", `{}`))
	}
	old, now := content(t, path+rotatedSuffix), content(t, path)
	if len(old) > 1000 || len(now) > 1000 || len(old) < 800 {
		t.Errorf("got %d and %d bytes, want at most 1000 each", len(old), len(now))
	}
	if !strings.Contains(now, `"id":"099"`) || strings.Contains(old+now, `"id":"000"`) || !strings.HasSuffix(old, "}\n") {
		t.Errorf("got %s%s", old, now)
	}
}

// Goal: what a killed process left behind does not spoil the next line. Method: a file with a torn line.
func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte("{\"torn"), 0o640); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, event("1", "a", `{}`))
	write(t, l, event("2", "b", `{}`))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(content(t, path), "\n"); len(got) != 4 || got[0] != `{"torn` || !json.Valid([]byte(got[1])) {
		t.Errorf("got %q", got)
	}
}

// Goal: programs that rotate logs work: after the move, Reopen makes a new file.
func TestReopen(t *testing.T) {
	l, path := open(t, Options{})
	write(t, l, event("1", "a", `{}`))
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	write(t, l, event("2", "b", `{}`))
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, l, event("3", "c", `{}`))
	if moved, now := content(t, path+".moved"), content(t, path); strings.Count(moved, "\n") != 2 || strings.Count(now, "\n") != 1 {
		t.Errorf("got %q and %q", moved, now)
	}
}

// Goal: a log that can't be written counts and logs once, and goes on when it can. Method: the folder
// goes away and comes back.
func TestUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l, err := Open(filepath.Join(dir, "events"), Options{BytesMax: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, event("1", "a", `{}`))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.Write(event("2", "b", `{}`)); epu.KindOf(err) != epu.Unavailable {
			t.Fatalf("got %v, want unavailable", err)
		}
	}
	if l.Dropped() != 3 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("got %d dropped and log %q, want 3 and one line", l.Dropped(), log.String())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, l, event("3", "c", `{}`))
	if err := l.Write(event("bad", "d", `{`)); err == nil || l.Dropped() != 4 {
		t.Errorf("data that is no JSON: got %v and %d dropped", err, l.Dropped())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "x", "events"), Options{}); epu.KindOf(err) != epu.Unavailable || epu.TryOf(err) == "" {
		t.Errorf("got %v, want unavailable with advice", err)
	}
}

// Goal: Run ends with its channel or context, and writes what waits.
func TestRun(t *testing.T) {
	l, path := open(t, Options{})
	records := make(chan persistence.Record, 2)
	records <- event("1", "a", `{}`)
	records <- event("2", "b", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx, records)
	close(records)
	l.Run(t.Context(), records)
	if got := content(t, path); strings.Count(got, "\n") != 2 {
		t.Errorf("got %q, want both", got)
	}
}

// Goal: no line makes the reader fail, and whatever it takes is an event. Method: fuzz lines.
func FuzzParseCloudyvent(f *testing.F) {
	f.Add(marker + `{"eventsource":"a","eventname":"b","uniquekey":"c","timestamp":{"year":2026},"extra":{}}`)
	f.Add(marker + marker + `{}`)
	f.Add(`x ` + marker + ` {"eventsource":1}`)
	f.Fuzz(func(t *testing.T, line string) {
		if e, ok := ParseCloudyvent(line); ok && (e.Source == "" || e.Name == "" || strings.Count(line, marker) != 1) {
			t.Errorf("%q is taken as %+v", line, e)
		}
	})
}
