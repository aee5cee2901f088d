package process_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/internal/process"
)

// Goal: what is kept of an output is its true end or beginning, bounded. Method: writes of all sizes, against the
// whole output.

const most = 64

func TestTailKeepsWholeCharacters(t *testing.T) {
	tail := process.NewTail(most)
	_, _ = tail.Write([]byte(strings.Repeat("é", most)))
	_, _ = tail.Write([]byte("x"))
	if got := tail.String(); !strings.HasPrefix(got, "é") || !strings.HasSuffix(got, "éx") || len(got) > most {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}

func FuzzTail(f *testing.F) {
	f.Add([]byte("a"), uint16(3))
	f.Add([]byte("a longer piece than what is kept of it all, so that its own end is all that there is"), uint16(2))
	f.Fuzz(func(t *testing.T, piece []byte, times uint16) {
		tail := process.NewTail(most)
		var all []byte
		for range times % 2000 {
			if n, err := tail.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("a write gives %d, %v", n, err)
			}
			all = append(all, piece...)
			if len(all) > 1<<20 {
				break
			}
		}
		if got := tail.String(); !bytes.HasSuffix(all, []byte(got)) || len(got) > most || len(got) < min(len(all), most-3) {
			t.Errorf("got %d bytes of %d", len(got), len(all))
		}
	})
}

func TestHeadTellsOnceThatThereIsMore(t *testing.T) {
	over := 0
	head := process.NewHead(5, func() { over++ })
	for _, step := range []struct {
		write, want string
		cut         bool
		over        int
	}{
		{"abc", "abc", false, 0}, {"de", "abcde", false, 0}, {"", "abcde", false, 0}, {"f", "abcde", true, 1}, {"gh", "abcde", true, 1},
	} {
		if n, err := head.Write([]byte(step.write)); n != len(step.write) || err != nil {
			t.Errorf("writing %q gives %d, %v", step.write, n, err)
		}
		if head.String() != step.want || head.Cut() != step.cut || over != step.over {
			t.Errorf("after %q: got %q, cut %v, told %d times; want %q, %v, %d", step.write, head, head.Cut(), over, step.want, step.cut, step.over)
		}
	}
	short := process.NewHead(2, nil)
	_, _ = short.Write([]byte("xyz"))
	if short.String() != "xy" || !short.Cut() {
		t.Errorf("got %q, cut %v", short, short.Cut())
	}
}
