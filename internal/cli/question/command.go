package question

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/policies"
)

// Host is the program that the commands are a part of.
type Host struct {
	Env   *cli.Env
	IO    *cli.IO
	Print func() *cli.Printer // valid once a command runs
	// Ask brings a question to the node.
	Ask func(ctx context.Context, m proto.Message) (proto.Message, error)
	// Order brings a command to the node and prints what became of it.
	Order func(ctx context.Context, m proto.Message, hints ...cli.Line) error
	// Pool checks the name of a pool.
	Pool func(name string) (string, error)
	// Pools completes names of pools, for the first so many arguments.
	Pools func(args int) cobra.CompletionFunc
	// Load finds and compiles a policy that the command line names.
	Load func(arg string) (*policies.Policy, error)
}

// PolicyCommands are the commands of the group `policy` that need a node.
func PolicyCommands(h Host) []*cobra.Command { return []*cobra.Command{Repl(h), Shadow(h)} }

// ask asks a question and expects an answer of one type.
func ask[T proto.Message](ctx context.Context, h Host, m proto.Message) (T, error) {
	var none T
	answer, err := h.Ask(ctx, m)
	if err != nil {
		return none, err
	}
	t, ok := answer.(T)
	if !ok {
		return none, epu.E(epu.Internal, "ask", "the node", fmt.Errorf("it gave an answer of another kind: %T", answer))
	}
	return t, nil
}

// readings reads arguments of the form SENSOR=VALUE. An unknown one is not a number.
func readings(args []string) (map[string]float64, error) {
	out := map[string]float64{}
	for _, arg := range args {
		name, text, ok := strings.Cut(arg, "=")
		switch _, twice := out[name]; {
		case !ok || name == "" || text == "":
			return nil, fmt.Errorf("%q is not SENSOR=VALUE", arg)
		case twice:
			return nil, fmt.Errorf("the sensor %s is given twice", name)
		case text == "unknown":
			out[name] = math.NaN()
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(text, "xX_") {
			return nil, fmt.Errorf("%q: the value is neither a number nor unknown", arg)
		}
		out[name] = v
	}
	return out, nil
}

// files are a policy's sources as messages carry them.
func files(p *policies.Policy) []*msg.File {
	var out []*msg.File
	for _, f := range p.Files() {
		out = append(out, &msg.File{Path: f.Path, Content: []byte(f.Text)})
	}
	return out
}

// plural counts things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

var errForm = errors.New("its form is unknown to this program: use the client that came with the node, or -o json")
