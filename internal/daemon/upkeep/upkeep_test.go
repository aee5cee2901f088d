package upkeep

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
)

// longFolder makes a data folder whose path is longer than a socket's may be.
func longFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func listen(t *testing.T, dir string, store Store) *Server {
	t.Helper()
	s, err := Listen(dir, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Goal: the node's answers are what its store says itself. Method: a real store in a folder with a long
// path, asked directly and over the socket, also after a node that left its socket behind.
func TestAnswers(t *testing.T) {
	dir := longFolder(t)
	if err := os.WriteFile(filepath.Join(dir, socketFile), nil, 0o600); err != nil { // as a killed node leaves it
		t.Fatal(err)
	}
	j, err := badger.Open(filepath.Join(dir, "journal"), badger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, id := range []epu.StreamID{"pool/default/a", "site/b"} {
		if _, err := j.Append(t.Context(), 1, id, 0, persistence.Event{ID: "1", Type: "t", Data: []byte(`{"x":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	listen(t, dir, j)
	if info, err := os.Stat(filepath.Join(dir, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got the socket %v and %v, want one for its user only", info, err)
	}
	c := NewClient(dir)
	want, err := j.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Check(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil || got.Events != 2 {
		t.Errorf("check: got %v, (-want +got):\n%s", err, diff)
	}
	for name, tt := range map[string]struct{ direct, asked func(io.Writer) error }{
		"dump": {
			func(w io.Writer) error { return j.Dump(t.Context(), w, "pool/") },
			func(w io.Writer) error { return c.Dump(t.Context(), w, "pool/") },
		},
		"backup": {
			func(w io.Writer) error { return j.Backup(t.Context(), w) },
			func(w io.Writer) error { return c.Backup(t.Context(), w) },
		},
	} {
		var direct, asked bytes.Buffer
		if err := errors.Join(tt.direct(&direct), tt.asked(&asked)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if direct.Len() == 0 || !bytes.Equal(direct.Bytes(), asked.Bytes()) {
			t.Errorf("%s: got\n%q, want\n%q", name, asked.Bytes(), direct.Bytes())
		}
	}
}

// broken is a store whose reads go wrong.
type broken struct {
	begun chan struct{}
	err   error
}

func (b *broken) Check(context.Context) (badger.Report, error) { return badger.Report{}, b.err }

func (b *broken) Dump(_ context.Context, w io.Writer, _ string) error {
	_, err := io.WriteString(w, "half")
	return errors.Join(err, b.err)
}

func (b *broken) Backup(ctx context.Context, w io.Writer) error {
	_, _ = io.WriteString(w, strings.Repeat("half", 1<<16))
	close(b.begun)
	<-ctx.Done()
	return ctx.Err()
}

// Goal: half an answer is never taken for a whole one. Method: a store that fails in the middle, and a
// node that stops in the middle.
func TestFailures(t *testing.T) {
	dir := longFolder(t)
	b := &broken{begun: make(chan struct{}), err: epu.E(epu.Conflict, "read", "the disk", errors.New("line 1\nline \u20ac2"))}
	s := listen(t, dir, b)
	c := NewClient(dir)
	_, err := c.Check(t.Context())
	for name, err := range map[string]error{"check": err, "dump": c.Dump(t.Context(), io.Discard, "")} {
		if epu.KindOf(err) != epu.Conflict || !strings.Contains(err.Error(), "read the disk: line 1\nline \u20ac2") {
			t.Errorf("%s: got %v (%v), want the store's own error", name, err, epu.KindOf(err))
		}
	}
	answered := make(chan error)
	go func() { answered <- c.Backup(context.Background(), io.Discard) }()
	<-b.begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answered; err == nil {
		t.Error("a backup of which half came was taken for whole")
	}
	for name, dir := range map[string]string{"after the end": dir, "no folder": dir + "x", "no socket": t.TempDir()} {
		if _, err := NewClient(dir).Check(t.Context()); !errors.Is(err, ErrNobody) {
			t.Errorf("%s: got %v, want nobody", name, err)
		}
	}
}

// endless is a store whose dump never ends by itself; it says when it writes, and when it was stopped.
type endless struct {
	broken
	began, ended chan struct{}
}

func (e *endless) Dump(_ context.Context, w io.Writer, _ string) error {
	defer close(e.ended)
	close(e.began)
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return err
		}
	}
}

// stuck is a reader's end that takes nothing until it is let go, such as a pager.
type stuck struct{ letGo chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.letGo
	return len(b), nil
}

// Goal: a tool that does not take its answer does not keep a node from stopping. Method: a dump that never
// ends to a reader that takes nothing, while the server is closed.
func TestCloseWaitsForNoReader(t *testing.T) {
	dir := t.TempDir()
	store := &endless{began: make(chan struct{}), ended: make(chan struct{})}
	s, err := Listen(dir, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	reader, answered := stuck{make(chan struct{})}, make(chan error)
	go func() { answered <- NewClient(dir).Dump(context.Background(), reader, "") }()
	<-store.began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-store.ended: // nobody uses the store when Close has returned
	default:
		t.Error("the dump goes on after Close")
	}
	close(reader.letGo)
	if err := <-answered; epu.KindOf(err) != epu.Unavailable {
		t.Errorf("got %v, want an answer that was cut to be an error", err)
	}
}
