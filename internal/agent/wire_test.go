package agent

// Goal: what strangers send is bounded and checked, and never makes the agent fall over.
// Method: tables for what people write, fuzzing for what nobody would.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nimbus-epu/epu/actors/msg"
)

func userDataFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "user-data.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodUserData = `{"nodes": ["http://127.0.0.1:7700"], "bootstrap": "b", "launch": "epu-web-1-7", "run": ["/bin/true"], "later": 1}`

func TestLoadSaysEverythingAtOnce(t *testing.T) {
	file := userDataFile(t, "{\n \"nodes\": [\"ftp://x\", \"http://u@h\"],\n \"launch\": \"web\",\n \"heartbeat_seconds\": -1,\n \"ca_file\": \"/no/such/ca.pem\"\n}")
	_, _, err := load(sources{userData: file, logLevel: "loud"}, nil)
	got := strings.Split(strings.ReplaceAll(err.Error(), file, "FILE"), "\n")
	var lines []string
	for _, l := range got {
		if !strings.HasPrefix(l, "  try: ") {
			lines = append(lines, l)
		}
	}
	want := []string{
		"the machine's instance ID is not known",
		`log level "loud" is not known`,
		`FILE: "bootstrap" is missing`,
		`FILE:3: "launch" is "web", which is not <pool>-<epoch>-<number>`,
		`FILE:4: "heartbeat_seconds" is -1, which is not between 0 and 604800`,
		`FILE: "run" names no program`,
		`FILE:2: node "ftp://x" does not begin with http:// or https://`,
		`FILE:2: node "http://u@h" has more than scheme, host, port and path`,
		`/no/such/ca.pem: no such file or directory`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	if len(got) != 2*len(lines) {
		t.Errorf("got %d lines for %d problems, want an advice each:\n%v", len(got), len(lines), err)
	}
}

func TestLoadOneProblem(t *testing.T) {
	good := userDataFile(t, goodUserData)
	for _, c := range []struct {
		name string
		from sources
		env  []string
		want string // empty: none
	}{
		{"environment", sources{}, []string{"EPU_USER_DATA=" + good, "EPU_INSTANCE=i-1"}, ""},
		{"flags win", sources{userData: good, instance: "i-1"}, []string{"EPU_USER_DATA=/no/such", "EPU_INSTANCE="}, ""},
		{"no file named", sources{instance: "i-1"}, nil, "no user data"},
		{"no file", sources{instance: "i-1", userData: "/no/such"}, nil, "no such file or directory"},
		{"a folder", sources{instance: "i-1", userData: "/"}, nil, "is a directory"},
		{"broken", sources{instance: "i-1", userData: userDataFile(t, "{\n\n x")}, nil, ":3: this is not the JSON of user data"},
		{"wrong type", sources{instance: "i-1", userData: userDataFile(t, "{\n\"run\": 7}")}, nil, `:2: "run" is a number, which does not fit`},
		{"too long", sources{instance: "i-1", userData: userDataFile(t, strings.Repeat(" ", msg.AgentBodyMax+1))}, nil, "longer than 262144 bytes"},
		{"no node", sources{instance: "i-1", userData: userDataFile(t, strings.Replace(goodUserData, `"http://127.0.0.1:7700"`, "", 1))}, nil, "no node is named"},
		{"bad flag", sources{instance: "i-1", userData: good, nodes: []string{"127.0.0.1:7700"}}, nil, `node "127.0.0.1:7700"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _, err := load(c.from, c.env)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want == "" && (cfg.User.Launch != "epu-web-1-7" || cfg.Instance != "i-1"):
				t.Errorf("got %+v", cfg)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case c.want != "" && len(err.(Problems)) != 1:
				t.Errorf("got %d problems, want 1: %v", len(err.(Problems)), err)
			}
		})
	}
}

func TestNodeFlagsReplaceTheFiles(t *testing.T) {
	cfg, _, err := load(sources{userData: userDataFile(t, goodUserData), instance: "i-1", nodes: []string{"https://n1", "https://n2:1/epu"}}, nil)
	if d := cmp.Diff([]string{"https://n1", "https://n2:1/epu"}, cfg.User.Nodes); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestDecodeCheckedIn(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"worker":"epu-web-1-7/0","token":"t","vars":{"A":"b=c"},"drain_seconds":60}`, ""},
		{`{"worker":"web","token":"t"}`, "is not <launch>/<slot>"},
		{`{"worker":"epu-web-1-7/0"}`, "token"},
		{`{"worker":"epu-web-1-7/0","token":"t\r\nX: y"}`, "token"},
		{`{"worker":"epu-web-1-7/0","token":"t","vars":{"A=B":"c"}}`, "environment"},
		{`{"worker":"epu-web-1-7/0","token":"t","vars":{"A":"\u0000"}}`, "environment"},
		{`{"worker":"epu-web-1-7/0","token":"t","drain_seconds":1e300}`, "drain_seconds"},
		{`null`, "is not <launch>/<slot>"},
	} {
		_, err := decodeCheckedIn([]byte(c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzUserData(f *testing.F) {
	f.Add([]byte(goodUserData))
	f.Add([]byte(`{"run":["\u0000"],"heartbeat_seconds":1e400}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, _, ps := decodeUserData("f", body)
		if len(ps) > 0 {
			for _, p := range ps {
				if p.Text == "" || p.Try == "" || p.Line < 0 || p.Line > 1+strings.Count(string(body), "\n") {
					t.Errorf("problem without text, advice or a line that exists: %+v", p)
				}
			}
			return
		}
		u.Nodes = []string{"http://a"}
		c := newCore("i-1", u, false, testStart, func() float64 { return 0.5 })
		if c.link.period < beatPeriodMin || c.link.period > beatPeriodMax {
			t.Errorf("period %v", c.link.period)
		}
	})
}

func FuzzCheckedIn(f *testing.F) {
	f.Add([]byte(`{"worker":"epu-web-1-7/0","token":"t","vars":{"A":"b"},"heartbeat_seconds":1e-9,"drain_seconds":604800}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := decodeCheckedIn(body)
		if err != nil {
			return
		}
		w := newWorld(t, false)
		w.c.checkedIn(w.now, in)
		if l := &w.c.link; l.token == "" || l.period < beatPeriodMin || l.period > beatPeriodMax || l.drain < 0 {
			t.Errorf("accepted %q: token %q period %v drain %v", body, l.token, l.period, l.drain)
		}
		for _, kv := range environment(nil, &w.c.link, "s") {
			if k, _, ok := strings.Cut(kv, "="); !ok || k == "" || strings.Contains(kv, "\x00") {
				t.Errorf("environment entry %q", kv)
			}
		}
	})
}

func FuzzBeatReply(f *testing.F) {
	f.Add([]byte(`{"commands":[{"id":"c1","kind":"drain"},{"id":"c1","kind":"stop"}],"heartbeat_seconds":3}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReply(body)
		if err != nil {
			return
		}
		w := newWorld(t, false)
		w.settle()
		w.c.pollAnswered(w.now, r)
		w.settle()
		text, err := json.Marshal(w.c.report.beat(w.now, w.c.programs, "epu-web-1-7/0", "i-1"))
		if err != nil || len(text) > msg.AgentBodyMax {
			t.Errorf("the next beat has %d bytes: %v", len(text), err)
		}
	})
}
