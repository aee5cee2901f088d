package question_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/actors/sensing"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/policy"
	"github.com/nimbus-epu/epu/internal/cli/question"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/snapshot"
)

// The goal is that a console shows what the pool's policy sees and would decide, and that no line harms the next.
// Method: sessions with the stock policy queuelen on a snapshot as a node sends it.

var now = time.Date(2026, 11, 21, 14, 32, 0, 0, time.UTC)

func reply(t *testing.T) *msg.SnapshotReply {
	t.Helper()
	least := 0.0
	spec := epu.SensorSpec{StaleAfter: time.Minute, Keep: time.Hour, Missing: epu.MissingHold, Min: &least}
	series := sensing.New("queue-length", spec, now.Add(-time.Minute))
	series, _, err := series.Add(sensing.Point{Value: 118}, now)
	if err != nil {
		t.Fatal(err)
	}
	s := &policies.Snapshot{
		Now: now, Pool: "epu-web", Owner: epu.DefaultOwner, Decision: "d", Wish: epu.Wish{Target: 2}, Counts: policies.Counts{Running: 2},
		Readings: map[string]epu.Reading{"queue-length": series.Reading(now)}, MinMax: [2]int{0, 9},
	}
	raw, err := json.Marshal(snapshot.Of(s, map[string]snapshot.Series{"queue-length": {Spec: spec, Series: series}}))
	if err != nil {
		t.Fatal(err)
	}
	conf, err := structpb.NewStruct(map[string]any{"queuelen_high_water": 60, "queuelen_low_water": 10, "step_up": 4})
	if err != nil {
		t.Fatal(err)
	}
	return &msg.SnapshotReply{Snapshot: raw, Conf: conf, PolicyName: "queuelen"}
}

// typed runs the command with lines on stdin.
func typed(t *testing.T, dir string, tty bool, lines string, args ...string) (out, fault string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	env := cli.Env{Dir: dir, StdinTTY: tty, Now: func() time.Time { return now }, Zone: time.UTC, Getenv: func(string) string { return "" }}
	h := question.Host{
		Env: &env, IO: &cli.IO{In: strings.NewReader(lines), Out: &o, Err: &e},
		Pool:  func(name string) (string, error) { return name, nil },
		Pools: func(int) cobra.CompletionFunc { return nil },
		Load:  func(arg string) (*policies.Policy, error) { return policy.Load(policy.Host{Env: &env}, arg) },
		Ask:   func(context.Context, proto.Message) (proto.Message, error) { return reply(t), nil },
	}
	c := question.Repl(h)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.ExecuteContext(context.Background())
	return o.String(), e.String(), err
}

func TestReplInAPipe(t *testing.T) {
	out, fault, err := typed(t, t.TempDir(), false, `state.running(), conf.step_up
x = state.sensor("queue-length").value
x / 2
for i = 1, 2 do
  print("i is " .. i)
end
decide()
.sensor queue-length=30
decide()
.set step_up=1
.reset
control.scale_to(7)
state.runing()
.sensor queue=1
.set stepup=3
.foo
x
`, "epu-web")
	want := `2   4
59
i is 1
i is 2
wants 6 instances
  high_water: queue 118 above high water 60
  memory  {"down":{"every":0,"last":1795271520,"slots":[[179527152,6]],"width":10},"stepped_at":118}
wants 2 instances
  queue 30 within 10-60
  memory  {"down":{"every":0,"last":1795271520,"slots":[[179527152,2]],"width":10}}
wants 7 instances
  the policy wants 7 and gives no reason
118
`
	if out != want {
		t.Errorf("stdout is\n%s\nwant\n%s", out, want)
	}
	for _, part := range []string{
		"error: line:8: 'state.runing' does not exist; did you mean 'state.running'?", `the pool has no sensor "queue"; did you mean 'queue-length'?`,
		"step_up", "error: .foo is no order here; .help lists them",
	} {
		if !strings.Contains(fault, part) {
			t.Errorf("stderr is\n%s\nwant %q in it", fault, part)
		}
	}
	if cli.CodeOf(err) != cli.CodeFailed {
		t.Errorf("lines that failed in a pipe exit with %d (%v), want %d", cli.CodeOf(err), err, cli.CodeFailed)
	}
}

func TestReplAtATerminal(t *testing.T) {
	out, fault, err := typed(t, t.TempDir(), true, "1 +\n1\n.help\nnothing\n.quit\n2\n", "epu-web")
	if err != nil || !strings.HasPrefix(out, "sees pool epu-web at 2026-11-21 14:32:00 as its policy queuelen ") || !strings.Contains(out, "\n> . 2\n> ") {
		t.Errorf("got %q, %v", out, err)
	}
	if !strings.Contains(out, ".sensor NAME=VALUE") || !strings.Contains(fault, "'nothing' does not exist") || strings.HasSuffix(out, "2\n> ") {
		t.Errorf("got %q and %q", out, fault)
	}
}

func TestReplSavesAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	mine := `return { params = { queuelen_high_water = { type = "number" }, queuelen_low_water = { type = "number" }, step_up = { type = "integer" } },
  decide = function(control, state, conf) control.because("mine") control.scale_to(state.window("queue-length", 60).last / 59) end }`
	if err := os.WriteFile(filepath.Join(dir, "mine.lua"), []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	out, fault, err := typed(t, dir, false, "decide()\n.save saved.json\n", "epu-web", "--policy", "./mine.lua")
	if err != nil || !strings.HasPrefix(out, "wants 2 instances\n  mine\nsaved.json holds the snapshot") {
		t.Fatalf("got %q, %q, %v", out, fault, err)
	}
	if err := os.Remove(filepath.Join(dir, "mine.lua")); err != nil { // the policy is in the file too
		t.Fatal(err)
	}
	out, fault, err = typed(t, dir, false, "decide()\n", "--file", "saved.json")
	if err != nil || out != "wants 2 instances\n  mine\n" {
		t.Errorf("got %q, %q, %v", out, fault, err)
	}
	for _, args := range [][]string{{}, {"epu-web", "--file", "saved.json"}, {"--file", "saved.json", "--decision", "x"}} {
		if _, _, err := typed(t, dir, false, "", args...); cli.CodeOf(err) != cli.CodeUsage {
			t.Errorf("%q: got %v, want that it is wrong", args, err)
		}
	}
	if _, _, err := typed(t, dir, false, "", "--file", "none.json"); epu.KindOf(err) != epu.NotFound || epu.TryOf(err) == "" {
		t.Errorf("a file that there is not: %v", err)
	}
}

// What was changed at the console is in the file too: it goes on where the other one was left.
func TestReplSavesWhatWasChanged(t *testing.T) {
	dir := t.TempDir()
	out, fault, err := typed(t, dir, false, ".sensor queue-length=30\n.set step_up=5\ndecide()\n.save one.json\n", "epu-web")
	if err != nil || !strings.Contains(out, "wants 2 instances\n  queue 30 within 10-60") {
		t.Fatalf("got %q, %q, %v", out, fault, err)
	}
	const look = `state.sensor("queue-length").value, state.window("queue-length", 60).mean, conf.step_up` + "\n"
	out, fault, err = typed(t, dir, false, look+".sensor queue-length=unknown\n.unset step_up\n.save two.json\n.reset\n"+look, "--file", "one.json")
	if err != nil || !strings.HasPrefix(out, "30   30   5\n") || !strings.HasSuffix(out, "goes on with it\n30   30   5\n") {
		t.Errorf("got %q, %q, %v", out, fault, err)
	}
	below, _, _ := typed(t, dir, false, ".sensor queue-length=-5\nstate.sensor(\"queue-length\").quality\n", "epu-web")
	if !strings.Contains(below, "-5 is below the sensor's min of 0; taken as unknown") || !strings.Contains(below, `"unknown"`) {
		t.Errorf("a value that there can't be: got %q", below)
	}
	out, fault, err = typed(t, dir, false, `state.sensor("queue-length").quality, conf.step_up`+"\n", "--file", "two.json")
	if err != nil || out != "\"unknown\"   1\n" {
		t.Errorf("got %q, %q, %v", out, fault, err)
	}
}

// A policy with other settings is tried with the flags that its refusal names, or with all settings in a file.
func TestReplWithOtherSettings(t *testing.T) {
	dir := t.TempDir()
	mine := `return { params = { day = { type = "integer", required = true }, night = { type = "integer", default = 1 } },
  decide = function(control, state, conf) control.because("day") control.scale_to(conf.day) end }`
	for name, text := range map[string]string{"mine.lua": mine, "good.yaml": "# by day\nday: 4\n", "bad.yaml": "day: 4\nnight: x\nnihgt: 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const flags = "--unset queuelen_high_water,queuelen_low_water,step_up --set day=VALUE"
	_, _, err := typed(t, dir, false, "", "epu-web", "--policy", "./mine.lua")
	if epu.KindOf(err) != epu.Invalid || !strings.HasPrefix(epu.TryOf(err), "add "+flags+";") {
		t.Errorf("got %v, try %q", err, epu.TryOf(err))
	}
	args := append([]string{"epu-web", "--policy", "./mine.lua"}, strings.Fields(strings.Replace(flags, "VALUE", "3", 1))...)
	out, fault, err := typed(t, dir, false, "decide()\n.save saved.json\n", args...)
	if err != nil || !strings.HasPrefix(out, "wants 3 instances\n") {
		t.Errorf("got %q, %q, %v", out, fault, err)
	}
	if out, fault, err = typed(t, dir, false, "conf.day\n", "--file", "saved.json"); err != nil || out != "3\n" {
		t.Errorf("saved: got %q, %q, %v", out, fault, err)
	}
	if out, fault, err = typed(t, dir, false, "conf.day, conf.night\n", "epu-web", "--policy", "./mine.lua", "--conf", "good.yaml", "--set", "night=2"); err != nil || out != "4   2\n" {
		t.Errorf("a file: got %q, %q, %v", out, fault, err)
	}
	_, _, err = typed(t, dir, false, "", "epu-web", "--policy", "./mine.lua", "--conf", "bad.yaml")
	var shown bytes.Buffer
	cli.PrintError(&shown, err, "", cli.Paint{})
	for _, want := range []string{"bad.yaml:2: night: must be a whole number", "bad.yaml:3: nihgt: is no parameter of the policy; did you mean 'night'?"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("got %s, want %q in it", shown.String(), want)
		}
	}
	_, _, err = typed(t, dir, false, "", "epu-web", "--unset", "nothing")
	if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), "there is nothing to unset") {
		t.Errorf("got %v", err)
	}
}
