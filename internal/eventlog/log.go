package eventlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/persistence"
)

const (
	bytesMaxDefault = 64 << 20
	rotatedSuffix   = ".1"
	fileMode        = 0o640 // log shippers read it through their group; there are no secrets in events
)

// Options say how a Log writes. Zero values mean the defaults.
type Options struct {
	Cloudyvent bool         // also write life-cycle events in the older form
	BytesMax   int64        // of the file; then it becomes PATH.1, in place of the one before; default 64 MiB
	Log        *slog.Logger // failures are logged here, the first of a row only; nil = nowhere
}

// Log is an open event log. Its methods may be called from any goroutine.
type Log struct {
	path string
	opts Options

	mu      sync.Mutex // guards what follows: writers, and Reopen from a signal
	file    *os.File   // nil after a failure: the next Write opens it anew
	size    int64
	torn    bool // the file's last line has no end
	failing bool // the newest write failed
	dropped uint64
}

// Open opens or makes the file.
func Open(path string, opts Options) (*Log, error) {
	if opts.BytesMax <= 0 {
		opts.BytesMax = bytesMaxDefault
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{path: path, opts: opts}
	if err := l.open(); err != nil {
		return nil, &epu.Error{
			Kind: epu.Unavailable, Op: "open the event log", On: path, Err: err,
			Try: "make the folder and let the node's user write to it, or change events.file",
		}
	}
	return l, nil
}

// open opens the file at its end. What a killed process left without a line end gets one.
func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size, l.torn = f, info.Size(), false
	if last := make([]byte, 1); info.Mode().IsRegular() && l.size > 0 {
		if _, err := f.ReadAt(last, l.size-1); err != nil {
			l.file = nil
			return errors.Join(err, f.Close())
		}
		l.torn = last[0] != '\n'
	}
	return nil
}

// Write appends a record; decisions are left out, since each holds all its inputs and the history has
// them. An error means that this record is lost: it was counted and logged, and the next one is tried.
func (l *Log) Write(r persistence.Record) error {
	if r.Kind == persistence.KindDecision {
		return nil
	}
	lines, err := encode(r, l.opts.Cloudyvent)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.append(lines)
	}
	if err == nil {
		l.failing = false
		return nil
	}
	l.dropped++
	if !l.failing {
		l.failing = true
		l.opts.Log.Error("the event log can't be written; events are kept in the history only", "file", l.path, "error", err)
	}
	return epu.E(epu.Unavailable, "write to the event log", l.path, err)
}

func (l *Log) append(lines []byte) error {
	if l.file != nil && l.size > 0 && l.size+int64(len(lines)) > l.opts.BytesMax {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := l.file.Write(lines) // one call: lines of one record stay together
	l.size += int64(n)
	switch {
	case n == len(lines):
		l.torn = false
	case n > 0:
		l.torn = lines[n-1] != '\n'
	}
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	return err
}

// rotate puts the file aside and begins a new one.
func (l *Log) rotate() error {
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return err
	}
	if err := os.Rename(l.path, l.path+rotatedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.open()
}

// Reopen lets go of the file and opens its path again, after a program that rotates logs has moved it.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.file != nil {
		err = l.file.Close()
		l.file = nil
	}
	if err = errors.Join(err, l.open()); err != nil {
		return epu.E(epu.Unavailable, "open the event log again", l.path, err)
	}
	return nil
}

// Run writes records until their channel is closed or the context ends; what waits in the channel then
// is still written.
func (l *Log) Run(ctx context.Context, records <-chan persistence.Record) {
	write := func(r persistence.Record) {
		_ = l.Write(r) // counted and logged where it happened
	}
	for {
		select {
		case r, ok := <-records:
			if !ok {
				return
			}
			write(r)
		case <-ctx.Done():
			for {
				select {
				case r, ok := <-records:
					if !ok {
						return
					}
					write(r)
				default:
					return
				}
			}
		}
	}
}

// Dropped counts records that could not be written.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close syncs and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	return err
}
