package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/nimbus-epu/epu/actors/msg"
)

// Bounds on what nodes and user data may say.
const (
	nodesMax       = 32
	tokenMax       = 8 << 10 // bytes; it travels in a header
	idMax          = 512     // bytes of a worker's, launch's or instance's ID
	wireSecondsMax = 7 * 24 * 3600
)

// Problem is one thing wrong with the configuration, and what to do about it.
type Problem struct {
	File string // where it is written; empty for flags and environment
	Line int    // from 1; 0 when it concerns the whole file
	Text string
	Try  string
}

// String is the problem in one line, with its advice in a second.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:", p.Line)
		}
		b.WriteString(" ")
	}
	b.WriteString(p.Text)
	if p.Try != "" {
		b.WriteString("\n  try: " + p.Try)
	}
	return b.String()
}

// Problems is everything wrong with the configuration.
type Problems []Problem

// Error lists the problems, one after the other.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// readLimited reads a body of at most msg.AgentBodyMax bytes.
func readLimited(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, msg.AgentBodyMax+1))
	if err != nil {
		return nil, err
	}
	if len(body) > msg.AgentBodyMax {
		return nil, fmt.Errorf("longer than %d bytes", msg.AgentBodyMax)
	}
	return body, nil
}

// decodeUserData reads user data and checks everything in it. Unknown keys are no problem: a newer node
// may say more than this agent knows. Nodes are checked later, because flags may replace them; read is
// false when the text is no user data at all.
func decodeUserData(file string, body []byte) (u msg.UserData, read bool, ps Problems) {
	if err := json.Unmarshal(body, &u); err != nil {
		return u, false, Problems{jsonProblem(file, body, err)}
	}
	bad := func(key, text, try string) {
		ps = append(ps, Problem{File: file, Line: lineOf(body, key), Text: text, Try: try})
	}
	if u.Bootstrap == "" {
		bad("bootstrap", `"bootstrap" is missing`, "let the node write the user data: it holds the launch's token")
	}
	if u.Launch == "" {
		bad("launch", `"launch" is missing`, "let the node write the user data")
	} else if _, _, _, ok := u.Launch.Parse(); !ok || len(u.Launch) > idMax {
		bad("launch", fmt.Sprintf(`"launch" is %q, which is not <pool>-<epoch>-<number>`, cut(string(u.Launch), 80)), "let the node write the user data")
	}
	if err := checkSeconds("heartbeat_seconds", u.Heartbeat); err != nil {
		bad("heartbeat_seconds", err.Error(), "give a number of seconds such as 5, or leave it out")
	}
	switch {
	case len(u.Run) == 0 || u.Run[0] == "":
		bad("run", `"run" names no program`, `say "run": ["/path/to/program", "argument"] (agent: run: in the deployable type)`)
	case strings.ContainsRune(strings.Join(u.Run, ""), 0):
		bad("run", `"run" holds a NUL character`, "remove it")
	}
	return u, true, ps
}

// checkNodes checks node URLs, which came from a place with a name.
func checkNodes(where Problem, nodes []string) (ps Problems) {
	bad := func(text, try string) {
		p := where
		p.Text, p.Try = text, try
		ps = append(ps, p)
	}
	if len(nodes) == 0 {
		bad("no node is named", "name one with --node http://127.0.0.1:7700 or \"nodes\" in the user data")
	}
	if len(nodes) > nodesMax {
		bad(fmt.Sprintf("%d nodes are named, at most %d are allowed", len(nodes), nodesMax), "name a few: one that answers is enough")
	}
	for _, n := range nodes {
		if err := checkNode(n); err != nil {
			bad(fmt.Sprintf("node %q %v", cut(n, 200), err), "write it as https://host:port")
		}
	}
	return ps
}

func checkNode(node string) error {
	u, err := url.Parse(node)
	switch {
	case err != nil:
		return errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("does not begin with http:// or https://")
	case u.Hostname() == "":
		return errors.New("has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("has more than scheme, host, port and path")
	}
	return nil
}

// decodeCheckedIn reads an answer to a check-in.
func decodeCheckedIn(body []byte) (c msg.CheckedIn, err error) {
	if err := json.Unmarshal(body, &c); err != nil {
		return c, err
	}
	if _, _, ok := c.Worker.Parse(); !ok || len(c.Worker) > idMax {
		return c, fmt.Errorf("worker %q is not <launch>/<slot>", cut(string(c.Worker), 80))
	}
	if c.Token == "" || len(c.Token) > tokenMax || !visible(c.Token) {
		return c, errors.New("the token is missing, too long or has unprintable characters")
	}
	if strings.ContainsRune(c.Name, 0) {
		return c, errors.New("the name holds a NUL character")
	}
	for k, v := range c.Vars {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return c, fmt.Errorf("variable %q can't be put into an environment", cut(k, 80))
		}
	}
	if strings.ContainsRune(strings.Join(c.DrainCommand, ""), 0) || len(c.DrainCommand) > 0 && c.DrainCommand[0] == "" {
		return c, errors.New("the drain command names no program or holds a NUL character")
	}
	return c, errors.Join(checkSeconds("heartbeat_seconds", c.HeartbeatSeconds), checkSeconds("drain_seconds", c.DrainSeconds))
}

// decodeReply reads an answer to a beat or a poll. An empty one says nothing new.
func decodeReply(body []byte) (r msg.BeatReply, err error) {
	if len(body) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, err
	}
	for _, c := range r.Commands {
		if c.ID == "" || len(c.ID) > commandIDMax || !visible(c.ID) {
			return r, fmt.Errorf("command ID %q is empty, too long or has unprintable characters", cut(c.ID, 80))
		}
	}
	return r, checkSeconds("heartbeat_seconds", r.HeartbeatSeconds)
}

func checkSeconds(key string, s float64) error {
	if s < 0 || s > wireSecondsMax {
		return fmt.Errorf("%q is %g, which is not between 0 and %d", key, s, wireSecondsMax)
	}
	return nil
}

// visible reports that a text is printable ASCII without spaces.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// jsonProblem says where a JSON text is broken.
func jsonProblem(file string, body []byte, err error) Problem {
	p := Problem{File: file, Text: "this is not the JSON of user data: " + err.Error(), Try: "let the node write the user data"}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		p.Line = lineAt(body, int(syntax.Offset))
	case errors.As(err, &kind):
		p.Line = lineAt(body, int(kind.Offset))
		p.Text = fmt.Sprintf("%q is a %s, which does not fit", kind.Field, kind.Value)
	}
	return p
}

// lineOf is the line of a key, or 0 where it does not stand.
func lineOf(body []byte, key string) int {
	i := bytes.Index(body, []byte(`"`+key+`"`))
	if i < 0 {
		return 0
	}
	return lineAt(body, i)
}

func lineAt(body []byte, offset int) int {
	return 1 + bytes.Count(body[:min(max(offset, 0), len(body))], []byte("\n"))
}
