package badger_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// TestMain lets the test binary play the process that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("EPU_TEST_CHILD") {
	case "append":
		appendForever(os.Getenv("EPU_TEST_DIR"))
	case "limited":
		runLimited(os.Getenv("EPU_TEST_DIR"))
	default:
		os.Exit(m.Run())
	}
}

func child(t testing.TB, role, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EPU_TEST_CHILD="+role, "EPU_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	return cmd
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

const crashWriters = 8

// batchData marks an event's place in its batch, so that half a batch shows.
type batchData struct {
	At   int    `json:"at"`
	Size int    `json:"size"`
	Pad  string `json:"pad"`
}

// appendForever appends batches to eight streams, with a snapshot now and then, and prints
// "<stream> <revision>" after each success.
func appendForever(dir string) {
	j, err := badger.Open(dir, badger.Options{})
	fail(err)
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), uint64(os.Getpid())))
			id := epu.StreamID(fmt.Sprintf("pool/default/p%d", w))
			l, err := j.Load(context.Background(), id)
			fail(err)
			rev := l.Revision
			for n := 1; ; n++ {
				size := rng.IntN(4) + 1
				evs := make([]persistence.Event, size)
				for i := range evs {
					data, err := json.Marshal(batchData{i, size, strings.Repeat("x", rng.IntN(4000))})
					fail(err)
					evs[i] = persistence.Event{Type: "tested", V: 1, ID: fmt.Sprintf("%s-%d", id, int(rev)+i+1), Data: data}
				}
				rev, err = j.Append(context.Background(), 1, id, rev, evs...)
				fail(err)
				fmt.Printf("%s %d\n", id, rev)
				if n%40 == 0 {
					state, err := json.Marshal(strings.Repeat(strconv.Itoa(n%10), rng.IntN(800<<10)))
					fail(err)
					fail(j.Snapshot(context.Background(), 1, id, rev-epu.Revision(rng.IntN(3)), state))
				}
			}
		})
	}
	wg.Wait()
}

// Goal: a killed process loses nothing that it was told is durable, and nothing is half there. Method:
// SIGKILL after a random number of acknowledgements, 20 rounds over one store (EPU_CAMPAIGN sets how
// many); then check the store, every stream, and every batch. What this can't show is in
// TestSyncedBeforeAnswer: the kernel keeps what a killed process wrote, synced or not.
func TestKilled(t *testing.T) {
	rounds := 20
	if s := os.Getenv("EPU_CAMPAIGN"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	dir := t.TempDir()
	acked := map[epu.StreamID]epu.Revision{}
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		killAfter(t, dir, 1+rng.IntN(300), acked)
		report, err := badger.Check(dir)
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("round %d: check got %+v, %v", round, report, err)
		}
		checkStreams(t, round, dir, acked)
	}
}

// killAfter runs a child until it has printed that many lines, kills it, and notes all that it printed.
func killAfter(t *testing.T, dir string, lines int, acked map[epu.StreamID]epu.Revision) {
	cmd := child(t, "append", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for n := 1; scan.Scan(); n++ {
		var id epu.StreamID
		var rev epu.Revision
		if _, err := fmt.Sscan(scan.Text(), &id, &rev); err != nil {
			t.Fatalf("line %q: %v", scan.Text(), err)
		}
		acked[id] = rev
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func checkStreams(t *testing.T, round int, dir string, acked map[epu.StreamID]epu.Revision) {
	t.Helper()
	j := open(t, dir)
	defer j.Close()
	for id, rev := range acked {
		l, err := j.Load(t.Context(), id)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if l.Revision < rev {
			t.Errorf("round %d: %s is at %d, but %d was acknowledged", round, id, l.Revision, rev)
		}
		place := batchData{}
		for i, ev := range l.Tail {
			if want := fmt.Sprintf("%s-%d", id, int(l.SnapshotAt)+i+1); ev.ID != want {
				t.Errorf("round %d: got event %s, want %s", round, ev.ID, want)
			}
			if err := json.Unmarshal(ev.Data, &place); err != nil {
				t.Error(err)
			}
		}
		if len(l.Tail) > 0 && place.At != place.Size-1 {
			t.Errorf("round %d: %s ends with event %d of a batch of %d", round, id, place.At+1, place.Size)
		}
	}
}

// Goal: the disk has an append before its caller is answered, so that a loss of power can't take it.
// Method: right after each answer, ask the kernel how many pages of the write-ahead logs are not
// yet written back. The control, a mapped file before and after syncing, shows that the question can fail.
func TestSyncedBeforeAnswer(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	defer j.Close()
	if _, err := dirtyPages(dir); err != nil {
		t.Skipf("this kernel or file system does not tell: %v", err)
	}
	if !unsyncedShows(t) {
		t.Skip("this file system writes at once: nothing to see")
	}
	for rev := range epu.Revision(200) {
		if _, err := j.Append(t.Context(), 1, "pool/a", rev, event(fmt.Sprint(rev))); err != nil {
			t.Fatal(err)
		}
		if n, err := dirtyPages(dir); err != nil || n > 0 {
			t.Fatalf("after the answer to append %d: %d pages of the log are not on the disk, %v", rev+1, n, err)
		}
	}
}

// unsyncedShows writes to a mapped file without syncing and reports whether that can be seen.
func unsyncedShows(t *testing.T) bool {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "db", "00001.mem"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_WRITE|unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	m[5000] = 1
	before, err := dirtyPages(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	after, err := dirtyPages(dir)
	if err != nil {
		t.Fatal(err)
	}
	return before > 0 && after == 0
}

// dirtyPages counts the pages of all write-ahead logs that are dirty or being written.
func dirtyPages(dir string) (uint64, error) {
	names, err := filepath.Glob(filepath.Join(dir, "db", "*.mem"))
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		var st unix.Cachestat_t
		err = unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0)
		f.Close()
		if err != nil {
			return 0, err
		}
		sum += st.Dirty + st.Writeback
	}
	return sum, nil
}

// Goal: when writes fail inside Badger, callers are told, nothing acknowledged is lost, and the store
// goes on by itself. Method: a child lowers its limit on file sizes so that Badger can't make its next
// log, and raises it once a caller was told.
func TestWriteFails(t *testing.T) {
	cmd := child(t, "limited", t.TempDir())
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "recovered") {
		t.Fatalf("got %s, %v", out, err)
	}
}

// failures is a log handler that says when Badger's first write has failed.
type failures struct {
	slog.Handler
	first func()
}

func (f failures) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		f.first()
	}
	return nil
}
func (f failures) Enabled(context.Context, slog.Level) bool { return true }
func (f failures) WithAttrs([]slog.Attr) slog.Handler       { return f }

func runLimited(dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	failed := make(chan struct{})
	log := slog.New(failures{slog.DiscardHandler, sync.OnceFunc(func() { close(failed) })})
	j, err := badger.Open(dir, badger.Options{Logger: log})
	fail(err)
	limit := func(size uint64) {
		fail(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}))
	}
	limit(12 << 20) // a log is made with 16 MiB
	raised := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() { writeThrough(j, epu.StreamID(fmt.Sprintf("pool/%d", w)), raised) })
	}
	<-failed
	for told := false; !told; { // until then it is refused as a conflict
		_, err := j.Append(context.Background(), 1, "pool/late", 7, persistence.Event{Type: "tested", V: 1, ID: "late"})
		told = epu.KindOf(err) == epu.Unavailable
	}
	limit(unix.RLIM_INFINITY)
	close(raised)
	wg.Wait()
	fail(j.Close())
	report, err := badger.Check(dir)
	fail(err)
	if len(report.Problems) > 0 {
		fail(fmt.Errorf("problems: %v", report.Problems))
	}
	fmt.Println("recovered")
}

// writeThrough appends until the limit is raised and a hundred events beyond, repeating what was
// refused, and then compares the stream with what was acknowledged.
func writeThrough(j *badger.Journal, id epu.StreamID, raised <-chan struct{}) {
	pad := json.RawMessage(`"` + strings.Repeat("x", 30_000) + `"`)
	rev := epu.Revision(0)
	for more := 100; more > 0; {
		ev := persistence.Event{Type: "tested", V: 1, ID: fmt.Sprint(rev), Data: pad}
		next, err := j.Append(context.Background(), 1, id, rev, ev)
		if err != nil {
			if epu.KindOf(err) != epu.Unavailable {
				fail(fmt.Errorf("told %w, want unavailable", err))
			}
			<-raised // and again until it is open, which takes a moment
			continue
		}
		rev = next
		select {
		case <-raised:
			more--
		default:
		}
	}
	l, err := j.Load(context.Background(), id)
	fail(err)
	if l.Revision != rev || len(l.Tail) != int(rev) {
		fail(fmt.Errorf("stream %s: revision %d with %d events, %d acknowledged", id, l.Revision, len(l.Tail), rev))
	}
}
