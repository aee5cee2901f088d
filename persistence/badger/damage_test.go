package badger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

func event(id string) persistence.Event {
	return persistence.Event{Type: "tested", V: 1, ID: id, Data: json.RawMessage(fmt.Sprintf(`{"pad":%q}`, strings.Repeat(id, 200)))}
}

// appendN appends n events to a stream, one by one.
func appendN(t testing.TB, j *badger.Journal, id epu.StreamID, n int) {
	t.Helper()
	l, err := j.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for rev := l.Revision; rev < l.Revision+epu.Revision(n); rev++ {
		if _, err := j.Append(t.Context(), j.Meta().Epoch, id, rev, event(fmt.Sprintf("%s-%d", id, rev+1))); err != nil {
			t.Fatal(err)
		}
	}
}

// sampleStores makes two copies of one store: as a clean stop leaves it, all in tables, and as a
// killed process leaves it, the newest part in a write-ahead log.
func sampleStores(t testing.TB) (clean, killed string) {
	dir := t.TempDir()
	j := open(t, dir)
	appendN(t, j, "pool/a", 40)
	appendN(t, j, "pool/b", 10)
	state := json.RawMessage(`"` + strings.Repeat("s", 600<<10) + `"`)
	if err := j.Snapshot(t.Context(), 1, "pool/b", 8, state); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	clean = t.TempDir()
	copyDir(t, dir, clean)
	j = open(t, dir)
	defer j.Close()
	appendN(t, j, "pool/a", 30)
	appendN(t, j, "pool/c", 30)
	killed = t.TempDir()
	copyDir(t, dir, killed)
	return clean, killed
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(to, "x"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(filepath.Join(to, "x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.Rename(filepath.Join(to, "x", n.Name()), filepath.Join(to, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(to, "x")); err != nil {
		t.Fatal(err)
	}
}

// one finds the only file of a kind; the newest of several.
func one(t testing.TB, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return names[len(names)-1]
}

func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte, counted from the end when negative.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 0x55
		return b
	}
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// raw changes the database behind the journal's back.
func raw(change func(txn *bdg.Txn) error) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		db, err := bdg.Open(bareOptions(filepath.Join(dir, "db")))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(change), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func inFile(pattern string, change func([]byte) []byte) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) { edit(t, one(t, dir, pattern), change) }
}

func remove(pattern string) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		if err := os.Remove(one(t, dir, pattern)); err != nil {
			t.Fatal(err)
		}
	}
}

func eventKey(id string, rev byte) []byte {
	return append([]byte("e/"+id+"\x00"), 0, 0, 0, 0, 0, 0, 0, rev)
}

// damage is one way to harm a copy of a store.
type damage struct {
	name   string
	of     string
	harm   func(t testing.TB, dir string)
	expect string // in the error's text
}

func damages(clean, killed string) []damage {
	return []damage{
		{"table, a block", clean, inFile("db/*.sst", flip(5000)), ".sst: block"},
		{"table, first byte", clean, inFile("db/*.sst", flip(0)), ".sst: block 1"},
		{"table, index", clean, inFile("db/*.sst", flip(-60)), ".sst"},
		{"table, last byte", clean, inFile("db/*.sst", flip(-1)), ".sst"},
		{"table, length of the checksum", clean, inFile("db/*.sst", flip(-4)), ".sst"},
		{"table cut short", clean, inFile("db/*.sst", cut(3000)), ".sst"},
		{"table cut to three bytes", clean, inFile("db/*.sst", cut(3)), ".sst"},
		{"table emptied", clean, inFile("db/*.sst", cut(0)), "missing"},
		{"table missing", clean, remove("db/*.sst"), "missing"},
		{"manifest, flipped", clean, inFile("db/MANIFEST", flip(20)), "MANIFEST"},
		{"manifest, magic", clean, inFile("db/MANIFEST", flip(1)), "MANIFEST"},
		{"manifest emptied", clean, inFile("db/MANIFEST", cut(0)), "MANIFEST"},
		{"manifest missing", clean, remove("db/MANIFEST"), "MANIFEST"},
		{"manifest cut short", clean, inFile("db/MANIFEST", cut(20)), "number 0"},
		{"key registry cut short", clean, inFile("db/KEYREGISTRY", cut(10)), "KEYREGISTRY"},
		{"witness missing", clean, remove("witness"), "witness"},
		{"witness emptied", clean, inFile("witness", cut(0)), "witness"},
		{"database missing", clean, func(t testing.TB, dir string) { os.RemoveAll(filepath.Join(dir, "db")) }, "db: the folder is missing"},
		{"log, flipped near its start", killed, inFile("db/*.mem", flip(100)), "damaged at byte 20"},
		{"log, flipped in the middle", killed, inFile("db/*.mem", flip(20_000)), "write-ahead log is damaged"},
		{"log that is not the newest, flipped", killed, func(t testing.TB, dir string) {
			log := one(t, dir, "db/*.mem")
			copyFile(t, log, filepath.Join(dir, "db", "00098.mem"))
			edit(t, log, flip(20_000))
		}, "what follows is lost"},
		{"log cut short", killed, inFile("db/*.mem", cut(20_000)), "acknowledged"},
		{"log missing", killed, remove("db/*.mem"), "acknowledged"},
		{"log zeroed from the middle", killed, inFile("db/*.mem", func(b []byte) []byte { clear(b[9000:]); return b }), "acknowledged"},
		{"database of an earlier day", killed, func(t testing.TB, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, "db"), os.DirFS(filepath.Join(clean, "db"))); err != nil {
				t.Fatal(err)
			}
		}, "acknowledged"},
		{"an event gone", clean, raw(func(txn *bdg.Txn) error { return txn.Delete(eventKey("pool/a", 7)) }), "event 6 is followed by event 8"},
		{"the last event gone", clean, raw(func(txn *bdg.Txn) error { return txn.Delete(eventKey("pool/a", 40)) }), "events 40 to 40 are missing"},
		{"an event too many", clean, raw(func(txn *bdg.Txn) error { return txn.Set(eventKey("pool/a", 41), nil) }), "pool/a"},
		{"a head gone", clean, raw(func(txn *bdg.Txn) error { return txn.Delete([]byte("s/pool/a")) }), "its head is missing"},
		{"a head damaged", clean, raw(func(txn *bdg.Txn) error { return txn.Set([]byte("s/pool/a"), []byte("x")) }), "pool/a"},
		{"a part of a snapshot gone", clean, raw(deleteFirst("p/pool/b")), "parts of its snapshot"},
		{"the description gone", clean, raw(func(txn *bdg.Txn) error { return txn.Delete([]byte("m/meta")) }), "description"},
		{"the counters gone", clean, raw(func(txn *bdg.Txn) error { return txn.Delete([]byte("m/commit")) }), "newest commit knows 0"},
		{"a whole stream gone", clean, raw(func(txn *bdg.Txn) error {
			for rev := range byte(40) {
				if err := txn.Delete(eventKey("pool/a", rev+1)); err != nil {
					return err
				}
			}
			return txn.Delete([]byte("s/pool/a"))
		}), "all streams together have 10 events"},
	}
}

// Goal: no damage goes unseen, and none of it ends the process. Method: harm copies of a store, each in
// one way; opening must refuse with advice and the place, twice, and Check must name it too.
func TestDamage(t *testing.T) {
	clean, killed := sampleStores(t)
	for _, tc := range damages(clean, killed) {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			copyDir(t, tc.of, dir)
			tc.harm(t, dir)
			report, err := badger.Check(dir)
			if err != nil || len(report.Problems) == 0 {
				t.Errorf("check: got %+v, %v, want problems", report, err)
			}
			for range 2 {
				j, err := badger.Open(dir, badger.Options{})
				if err == nil {
					j.Close()
				}
				if !errors.Is(err, persistence.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), tc.expect) {
					t.Fatalf("got %v, want it corrupt with %q", err, tc.expect)
				}
				if !strings.Contains(epu.TryOf(err), "epud journal check") {
					t.Errorf("got advice %q", epu.TryOf(err))
				}
			}
		})
	}
}

func deleteFirst(prefix string) func(txn *bdg.Txn) error {
	return func(txn *bdg.Txn) error {
		it := txn.NewIterator(bdg.IteratorOptions{Prefix: []byte(prefix)})
		it.Rewind()
		key := it.Item().KeyCopy(nil)
		it.Close()
		return txn.Delete(key)
	}
}

// Goal: looking at a damaged log does not make it worse. Method: after refusals the bytes are the same.
func TestDamageIsLeftAlone(t *testing.T) {
	_, killed := sampleStores(t)
	edit(t, one(t, killed, "db/*.mem"), flip(20_000))
	before, err := os.ReadFile(one(t, killed, "db/*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(killed, badger.Options{}); !errors.Is(err, persistence.ErrCorrupt) {
		t.Fatalf("open: got %v, want corrupt", err)
	}
	if _, err := badger.Check(killed); err != nil {
		t.Fatalf("check: %v", err)
	}
	after, err := os.ReadFile(one(t, killed, "db/*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the log was changed")
	}
}

// Goal: what a crash may leave is no damage. Method: harm that a killed process or a loss of power
// does; the store opens with everything that was acknowledged.
func TestCrashLeavings(t *testing.T) {
	_, killed := sampleStores(t)
	for name, leave := range map[string]func(t testing.TB, dir string){
		"nothing":          func(testing.TB, string) {},
		"an empty new log": func(t testing.TB, dir string) { touch(t, dir, "db/00099.mem") },
		"an empty table":   func(t testing.TB, dir string) { touch(t, dir, "db/000099.sst") },
		"an empty value":   func(t testing.TB, dir string) { touch(t, dir, "db/000099.vlog") },
		"a table unlisted": func(t testing.TB, dir string) {
			copyFile(t, one(t, dir, "db/*.sst"), filepath.Join(dir, "db/000099.sst"))
		},
		"a table half made": func(t testing.TB, dir string) {
			copyFile(t, one(t, dir, "db/*.sst"), filepath.Join(dir, "db/000099.sst"))
			edit(t, filepath.Join(dir, "db/000099.sst"), flip(4000))
		},
		"a torn last write": inFile("db/*.mem", tornTail),
		"one torn slot of the witness": func(t testing.TB, dir string) {
			edit(t, filepath.Join(dir, "witness"), flip(600))
		},
		"a witness that lags": func(t testing.TB, dir string) {
			clean, _ := sampleStores(t)
			copyFile(t, filepath.Join(clean, "witness"), filepath.Join(dir, "witness"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyDir(t, killed, dir)
			leave(t, dir)
			report, err := badger.Check(dir)
			if err != nil || len(report.Problems) > 0 || report.Streams != 3 || report.Events != 102 {
				t.Errorf("check: got %+v, %v", report, err)
			}
			j := open(t, dir)
			defer j.Close()
			for id, want := range map[epu.StreamID]epu.Revision{"pool/a": 70, "pool/b": 10, "pool/c": 30} {
				if l, err := j.Load(t.Context(), id); err != nil || l.Revision != want {
					t.Errorf("stream %s: got revision %d, %v, want %d", id, l.Revision, err, want)
				}
			}
			appendN(t, j, "pool/c", 1)
		})
	}
}

// Goal: a write that was cut off is no damage, also when it was the first after a start, with all that was
// acknowledged in tables. Method: put the beginning of a transaction into the new, still empty log.
func TestTornFirstWriteAfterAStart(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	appendN(t, j, "pool/a", 40)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	torn := t.TempDir()
	copyDir(t, dir, torn)
	appendN(t, j, "pool/a", 1)
	written, err := os.ReadFile(one(t, dir, "db/*.mem"))
	if err := errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{21, 60, 300} {
		t.Run(fmt.Sprint(n, " bytes"), func(t *testing.T) {
			dir := t.TempDir()
			copyDir(t, torn, dir)
			edit(t, one(t, dir, "db/*.mem"), func(b []byte) []byte { copy(b, written[:n]); return b })
			if report, err := badger.Check(dir); err != nil || len(report.Problems) > 0 {
				t.Errorf("check: got %+v, %v", report, err)
			}
			j := open(t, dir)
			defer j.Close()
			if l, err := j.Load(t.Context(), "pool/a"); err != nil || l.Revision != 40 {
				t.Errorf("got revision %d, %v, want 40", l.Revision, err)
			}
			appendN(t, j, "pool/a", 1)
		})
	}
}

func touch(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tornTail puts the beginning of an entry behind the last whole transaction.
func tornTail(b []byte) []byte {
	end := len(strings.TrimRight(string(b), "\x00"))
	copy(b[end:], b[20:300])
	return b
}

// Goal: leftovers of a snapshot that crashed between two steps are invisible and swept. Method: plant
// covered events and parts of no snapshot.
func TestLeftoversAreSwept(t *testing.T) {
	clean, _ := sampleStores(t)
	raw(func(txn *bdg.Txn) error {
		return errors.Join(txn.Set(eventKey("pool/b", 3), []byte("covered")),
			txn.Set(append([]byte("p/pool/b\x00"), make([]byte, 12)...), []byte("part")))
	})(t, clean)
	for _, want := range []int{2, 0} {
		r, err := badger.Check(clean)
		if err != nil || r.Leftover != want || len(r.Problems) > 0 {
			t.Errorf("got %+v, %v, want %d leftovers", r, err, want)
		}
		j := open(t, clean)
		l, err := j.Load(t.Context(), "pool/b")
		if err != nil || l.Revision != 10 || l.SnapshotAt != 8 || len(l.Tail) != 2 {
			t.Errorf("got %d, %d, %v", l.Revision, l.SnapshotAt, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
