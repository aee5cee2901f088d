package hook

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nimbus-epu/epu"
)

// Program is one run of a hook.
type Program struct {
	Run []string          // program and arguments
	Env map[string]string // added to the node's own environment
}

// environment is the node's with what the program is told.
func (p Program) environment(own []string) []string {
	env := slices.Clone(own)
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		env = append(env, name+"="+p.Env[name])
	}
	return env
}

// failed is how a program failed, with the end of what it said.
func failed(program string, err error, said string) error {
	why := err.Error()
	if line := lastLine(said); line != "" {
		why += ": " + line
	}
	return epu.E(epu.Unavailable, "run", program, errors.New(why))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.ToValidUTF8(strings.TrimSpace(lines[len(lines)-1]), "?")
}

var errNoProgram = errors.New("the hook names no program")

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards text: the copying of exec and who looks
	text []byte
}

// tailMax bounds what is kept of a program's words.
const tailMax = 500

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[max(0, len(b)-tailMax):]...)
	t.text = t.text[max(0, len(t.text)-tailMax):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
