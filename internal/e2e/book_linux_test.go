//go:build system

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The programs of a pool that writes a book: what happens to whom, a line each, in the order in which it
// happened. The folder of a program is its pool's. A drain command goes on for ever while there is a file
// hold; a hook fails the first time for each worker while there is a file first-fails.
const (
	bookType = `schema: epu/v1
kind: deployable-type
name: writer
sites: {local: {image: epu-agent, args: [worker]}}
agent: {install: in-image, run: [./worker.sh]}
`
	bookWorker = `#!/bin/sh
echo "began $EPU_WORKER" | tee -a "${0%/*}/book"
nap=
trap '[ -n "$nap" ] && kill "$nap"; echo "stopped $EPU_WORKER" >>"${0%/*}/book"; exit 0' TERM
while :; do sleep 5 & nap=$!; wait "$nap"; done
`
	bookDrain = `#!/bin/sh
hold=
[ -e "${0%/*}/hold" ] && hold=on
echo "drain $EPU_WORKER" >>"${0%/*}/book"
[ -n "$hold" ] && exec sleep 1000
kill -TERM "$EPU_PROGRAM_PID"
`
	bookHook = `#!/bin/sh
dir=${0%/*} of=${EPU_INSTANCE#i-}
machine=$dir/../.epu/sites/local/launches/${of%-*}/${of##*-}
lives=alive
grep -q '"phase":"ended"' "$machine/state.json" && lives=ended
echo "$EPU_EVENT $EPU_WORKER $lives" >>"$dir/book"
if [ -e "$dir/first-fails" ] && mkdir "$dir/tried-$EPU_EVENT-$of"; then exit 3; fi
exit 0
`
)

// book is what the programs of a pool wrote.
type book struct {
	dir string

	mu      sync.Mutex // guards what the reader of the file adds
	lines   []string
	changed chan struct{} // closed when a line comes
}

// newBook puts the programs and the files of a pool that uses them into a folder beside the node's data,
// and reads what they write.
func newBook(t *testing.T, n *node, pool string) *book {
	t.Helper()
	b := &book{dir: filepath.Join(n.dir, "book"), changed: make(chan struct{})}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"type.yaml": bookType, "pool.yaml": pool, workerProgram: bookWorker, "drain.sh": bookDrain, "hook.sh": bookHook, "book": "",
	} {
		b.write(t, name, text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tail := exec.CommandContext(ctx, "tail", "-n", "+1", "-f", filepath.Join(b.dir, "book"))
	out, err := tail.StdoutPipe()
	if err == nil {
		err = tail.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			b.mu.Lock()
			b.lines = append(b.lines, lines.Text())
			close(b.changed)
			b.changed = make(chan struct{})
			b.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = tail.Wait() // it was killed
		if t.Failed() {
			t.Logf("the book:\n%s", strings.Join(b.lines, "\n"))
		}
	})
	return b
}

func (b *book) write(t *testing.T, name, text string) {
	t.Helper()
	mode := os.FileMode(0o600)
	if strings.HasSuffix(name, ".sh") {
		mode = 0o700
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func (b *book) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// read gives the lines so far, and what is closed when there are more.
func (b *book) read() ([]string, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines), b.changed
}

// await waits until as many lines begin so.
func (b *book) await(n int, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), factMax)
	defer cancel()
	for {
		lines, changed := b.read()
		got := count(lines, prefix)
		if got >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the book has %d lines %q, want %d:\n%s", got, prefix, n, strings.Join(lines, "\n"))
		}
	}
}

// hooked waits until the program for a worker that runs was run for each of them.
func (b *book) hooked(ws []workerLine) string {
	for _, w := range ws {
		if err := b.await(1, "running "+w.Worker+" "); err != nil {
			return err.Error()
		}
	}
	return ""
}

// judge holds the book of an ended pool against what hooks promise: every worker that ran was told of at
// its end, while its machine was there, never before it was told of at its start; and each ran once,
// whatever became of the daemon.
func (b *book) judge(t *testing.T) {
	t.Helper()
	const last = "that is all" // once it is read, all before it are
	if f, err := os.OpenFile(filepath.Join(b.dir, "book"), os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = f.WriteString(last + "\n")
		_ = f.Close()
	}
	if err := b.await(1, last); err != nil {
		t.Error(err)
	}
	seen := map[string][]string{} // what happened to each worker
	lines, _ := b.read()
	for _, line := range slices.DeleteFunc(lines, func(l string) bool { return l == last }) {
		what, rest, _ := strings.Cut(line, " ")
		worker, lives, _ := strings.Cut(rest, " ")
		seen[worker] = append(seen[worker], strings.TrimSpace(what+" "+lives))
	}
	for _, worker := range slices.Sorted(maps.Keys(seen)) {
		life := seen[worker]
		started, ending := -1, slices.Index(life, "ending alive")
		for i, what := range life {
			if what == "running alive" {
				started = i
			}
		}
		switch {
		case ending < 0:
			t.Errorf("worker %s ended, and its hook was not run: %v", worker, life)
		case started > ending:
			t.Errorf("worker %s: it was told of as running after its end: %v", worker, life)
		case slices.Contains(life, "ending ended"):
			t.Errorf("worker %s: its machine ended before its hook: %v", worker, life)
		case count(life, "drain") > 1:
			t.Errorf("worker %s: its drain command ran more than once: %v", worker, life)
		case count(life, "began") > 1 || count(life, "stopped") > 1:
			t.Errorf("worker %s: its program was started anew: %v", worker, life)
		}
	}
}
