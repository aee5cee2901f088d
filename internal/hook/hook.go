package hook

import (
	"errors"
	"maps"
	"slices"
	"strings"

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

// saidBytesMax bounds what is kept of a program's words.
const saidBytesMax = 500
