package child

import (
	"bytes"
	"io"
	"sync"
)

// lineMax cuts longer lines into pieces, so that a program without line ends can't fill the memory.
const lineMax = 64 << 10

// Output is a place where several programs and a logger write whole lines without mixing them. Its own
// Write passes one complete piece through, which is what a logger does.
type Output struct {
	mu sync.Mutex // one writer at a time
	w  io.Writer
}

// NewOutput wraps a writer. Failed writes are dropped: a reader that went away must not stop a worker.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write passes p on in one piece.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.w.Write(p)
	return len(p), nil
}

func (o *Output) lines() *lines { return &lines{out: o} }

// lines collects one program's output until a line is complete. One goroutine writes it.
type lines struct {
	out *Output
	buf []byte
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	if len(l.buf) == 0 { // the common case: whole lines pass without being copied
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			_, _ = l.out.Write(p[:i+1])
			p = p[i+1:]
		}
	}
	for len(p) > 0 {
		take := min(len(p), lineMax-len(l.buf))
		if i := bytes.IndexByte(p[:take], '\n'); i >= 0 {
			take = i + 1
		}
		l.buf = append(l.buf, p[:take]...)
		p = p[take:]
		if l.buf[len(l.buf)-1] == '\n' {
			_, _ = l.out.Write(l.buf)
			l.buf = l.buf[:0]
		} else if len(l.buf) >= lineMax {
			l.flush()
		}
	}
	return n, nil
}

// flush ends an unfinished line.
func (l *lines) flush() {
	if len(l.buf) == 0 {
		return
	}
	_, _ = l.out.Write(append(l.buf, '\n'))
	l.buf = l.buf[:0]
}
