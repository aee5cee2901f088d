package process

import (
	"sync"
	"unicode/utf8"
)

// Tail keeps the end of what is written to it. Its methods may be called at the same time.
type Tail struct {
	mu   sync.Mutex // guards text: who writes a program's output and who looks
	text []byte
	most int
}

// NewTail gives a Tail that keeps at most so many bytes.
func NewTail(most int) *Tail { return &Tail{most: most} }

// Write takes in a piece of output and never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-t.most):]...)
	if len(t.text) > 2*t.most { // trimmed rarely, so that a byte is moved about once
		t.text = append(t.text[:0], t.text[len(t.text)-t.most:]...)
	}
	return len(p), nil
}

// String is the end of the output, beginning with a whole character where the cut fell into one.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) <= t.most {
		return string(t.text)
	}
	b := t.text[len(t.text)-t.most:]
	for i := 0; i < utf8.UTFMax-1 && len(b) > 0 && !utf8.RuneStart(b[0]); i++ {
		b = b[1:]
	}
	return string(b)
}

// Head keeps the beginning of what is written to it. Its methods may be called at the same time.
type Head struct {
	mu   sync.Mutex // guards text and cut: who writes a program's output and who looks
	text []byte
	most int
	cut  bool
	over func() // may be nil
}

// NewHead gives a Head that keeps at most so many bytes, and calls over, if there is one, once there are more.
func NewHead(most int, over func()) *Head { return &Head{most: most, over: over} }

// Write takes in a piece of output and never fails.
func (h *Head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	room := h.most - len(h.text)
	h.text = append(h.text, p[:min(room, len(p))]...)
	if len(p) > room && !h.cut {
		h.cut = true
		if h.over != nil {
			h.over()
		}
	}
	return len(p), nil
}

// String is the beginning of the output.
func (h *Head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}

// Cut reports that there was more than is kept.
func (h *Head) Cut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cut
}
