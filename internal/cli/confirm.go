package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Confirmation guards a command that ends machines. Scripts repeat the subject's name in --confirm;
// people see what is at stake and type the name. There is no bare yes.
type Confirmation struct {
	Given   string // the value of --confirm
	Want    string // what must be given or typed
	Command string // the command line that would do it, for the advice
	Stake   string // what will happen, in one sentence
}

// Ask lets a command go on or refuses it. On a terminal show prints the list of what is at stake.
func (c Confirmation) Ask(streams IO, tty bool, show func() error) error {
	switch {
	case c.Given == c.Want:
		return nil
	case c.Given != "":
		return Usage(c.Command+" --confirm="+c.Want, "--confirm=%s does not name what the command is about: %s", c.Given, c.Want)
	case !tty:
		return Usage(c.Command+" --confirm="+c.Want, "%s; that needs a confirmation", c.Stake)
	}
	if err := show(); err != nil {
		return err
	}
	fmt.Fprintf(streams.Err, "%s. Type %s to go on: ", Clean(c.Stake), Clean(c.Want))
	const answerBytesMax = 1024
	line, err := bufio.NewReader(io.LimitReader(streams.In, answerBytesMax)).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(streams.Err)
	}
	if strings.TrimSpace(line) != c.Want {
		return &Failure{Code: CodeUsage, Kind: "not confirmed", Err: errNotConfirmed(c.Want)}
	}
	return nil
}

type errNotConfirmed string

// Error says that nothing was done.
func (e errNotConfirmed) Error() string {
	return fmt.Sprintf("not confirmed: %q was not typed, nothing was done", string(e))
}
