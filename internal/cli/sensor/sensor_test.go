package sensor_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/sensor"
)

// Goal: what people read of sensors, and what is sent for what they type.
// Method: the real commands and the real printer; a node's answer is given.

// run runs the commands as epumgmt would.
func run(lang string, answer *msg.Sensors, args ...string) (out string, pushed *msg.SensorPush, asked *msg.SensorsQuery, err error) {
	var text bytes.Buffer
	env := cli.Env{Getenv: func(name string) string { return map[string]string{"LANG": lang}[name] }}
	form := cli.FormTable
	if len(args) > 0 && args[0] == "wide" {
		form, args = cli.FormWide, args[1:]
	}
	printer := cli.NewPrinter(cli.Settings{Form: form, Color: cli.ColorNever}, cli.IO{Out: &text, Err: &text}, env)
	c := sensor.Command(sensor.Host{
		Env: &env,
		Show: func(_ context.Context, _ bool, q *msg.SensorsQuery, view func(*msg.Sensors) (cli.View, error)) error {
			asked = q
			v, err := view(answer)
			return errors.Join(err, printer.Print(v))
		},
		Push: func(_ context.Context, m *msg.SensorPush) error { pushed = m; return nil },
		Pool: func(name string) (string, error) {
			if strings.Contains(name, "=") {
				return "", cli.Usage("", "no pool")
			}
			return name, nil
		},
		Pools: func(int) cobra.CompletionFunc { return nil },
	})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	err = c.Execute()
	return text.String(), pushed, asked, err
}

func samples(values ...float64) (all []*msg.Sample) {
	for _, v := range values {
		all = append(all, &msg.Sample{Value: v, Unknown: math.IsNaN(v)})
	}
	return all
}

func example() *msg.Sensors {
	now := timestamppb.New(time.Unix(1_800_000_000, 0))
	return &msg.Sensors{Sensors: []*msg.SensorStatus{
		{Pool: "epu-web", Sensor: "queue-length", Source: "rabbitmq", Unit: "messages", Quality: "ok", Value: 1234567, Time: now, Age: durationpb.New(12 * time.Second), Every: durationpb.New(15 * time.Second), Missing: "hold", Recent: samples(0, 10, 20, math.NaN(), 70)},
		{Pool: "epu-web", Sensor: "rate", Source: "prometheus", Unit: "/s", Quality: "stale", Value: 2.0 / 3, Time: now, Age: durationpb.New(5 * time.Minute), Every: durationpb.New(15 * time.Second), Missing: "last 10m0s", Error: "ask http://prometheus:9090: connection refused", Recent: samples(5, 5)},
		{Pool: "epu-gpu", Sensor: "jobs", Source: "command", Quality: "unknown", Value: 9, Every: durationpb.New(time.Minute), Missing: "fallback 0"},
	}}
}

func TestList(t *testing.T) {
	out, _, asked, err := run("en_US.UTF-8", example(), "list")
	want := `POOL      SENSOR                   VALUE  QUALITY    AGE  RECENT  SOURCE      ERROR
epu-web   queue-length  1234567 messages  ok         12s  ▁▂▃·█   rabbitmq
epu-web   rate               0.666667 /s  stale       5m  ▁▁      prometheus  ask http://prometheus:9090: connection refused
epu-gpu   jobs                         -  unknown  never          command
`
	if err != nil || out != want || asked.GetPool() != "" {
		t.Errorf("asked %v, %v; got:\n%s\nwant:\n%s", asked, err, out, want)
	}
	out, _, asked, err = run("C", example(), "wide", "list", "epu-web")
	if err != nil || asked.GetPool() != "epu-web" || !strings.Contains(out, "_.- #") || !strings.Contains(out, "last 10m0s") || !strings.Contains(out, "fallback 0") {
		t.Errorf("asked %v, %v; got:\n%s", asked, err, out)
	}
	if out, _, _, err = run("C", &msg.Sensors{}, "list", "epu-web"); err != nil || out != "epu-web has no sensors\n" {
		t.Errorf("got %q, %v", out, err)
	}
	huge := &msg.Sensors{Sensors: []*msg.SensorStatus{{Quality: "ok", Recent: samples(-math.MaxFloat64, 0, math.MaxFloat64)}}}
	if out, _, _, err = run("C.UTF-8", huge, "list"); err != nil || !strings.Contains(out, "▁▅█") {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestPush(t *testing.T) {
	_, pushed, _, err := run("", nil, "push", "epu-web", "jobs=118", "rate=-2.5e3", "left=unknown", "--age", "5s", "--source", "cron on a")
	want := &msg.SensorPush{}
	if err := protojson.Unmarshal([]byte(`{"pool":"epu-web","values":[
		{"sensor":"jobs","value":118,"age":"5s","source":"cron on a"},
		{"sensor":"rate","value":-2500,"age":"5s","source":"cron on a"},
		{"sensor":"left","unknown":true,"age":"5s","source":"cron on a"}]}`), want); err != nil {
		t.Fatal(err)
	}
	if err != nil || !proto.Equal(pushed, want) {
		t.Errorf("got %v, %v, want %v", pushed, err, want)
	}
	for _, args := range [][]string{
		{"epu-web"},
		{"epu-web", "jobs"},
		{"epu-web", "jobs="},
		{"epu-web", "=5"},
		{"epu-web", "jobs=many"},
		{"epu-web", "jobs=NaN"},
		{"epu-web", "jobs=0x10"},
		{"epu-web", "jobs=5", "--age", "5"},
		{"epu-web", "jobs=5", "--age", "-5s"},
		{"jobs=5", "jobs=6"},
	} {
		_, pushed, _, err := run("", nil, append([]string{"push"}, args...)...)
		if cli.CodeOf(err) != cli.CodeUsage || pushed != nil {
			t.Errorf("%v: got %v, %v", args, pushed, err)
		}
	}
}
