package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/nimbus-epu/epu"
)

// Confirmation guards a command that ends machines. Scripts repeat the subject's name in --confirm;
// people see what is at stake and type the name. There is no bare yes.
type Confirmation struct {
	Given   string // the value of --confirm
	Want    string // what must be given or typed
	Command string // the command line that would do it, for the advice
	Stake   string // what will happen, in one sentence
}

// Ask lets a command go on or refuses it. On a terminal show prints the list of what is at stake. The
// context's end is an answer too: no.
func (c Confirmation) Ask(ctx context.Context, streams IO, tty bool, show func() error) error {
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
	select {
	case line := <-firstLine(streams.In):
		if !strings.HasSuffix(line, "\n") {
			fmt.Fprintln(streams.Err) // the input ended, and what follows begins on a line of its own
		}
		if strings.TrimSpace(line) == c.Want {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(streams.Err)
	}
	err := &epu.Error{Kind: epu.Invalid, Err: errNotConfirmed(c.Want), Try: c.Command + ", and type " + c.Want + " when you are sure"}
	return &Failure{Code: CodeUsage, Kind: "not confirmed", Err: err}
}

// firstLine reads a line aside, because a read from a terminal can't be interrupted. If nobody waits for
// it any more the program is about to end, and the read with it.
func firstLine(in io.Reader) <-chan string {
	const answerBytesMax = 1024
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(in, answerBytesMax)).ReadString('\n')
		lines <- line // what came before an error is not the name, or it is
	}()
	return lines
}

type errNotConfirmed string

// Error says that nothing was done.
func (e errNotConfirmed) Error() string {
	return fmt.Sprintf("not confirmed: %q was not typed, nothing was done", string(e))
}
