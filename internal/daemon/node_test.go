package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/config"
	"github.com/nimbus-epu/epu/internal/daemon"
	"github.com/nimbus-epu/epu/internal/relay"
)

// The local site starts the running binary again, which is this test: as a keeper and as an agent.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		streams := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		os.Exit(daemon.Main(context.Background(), os.Args[1:], os.Environ(), streams, cli.SystemEnv(os.Stdin, os.Stdout, os.Stderr)))
	}
	os.Exit(m.Run())
}

const files = `
schema: epu/v1
kind: site
name: local
driver: local
---
schema: epu/v1
kind: deployable-type
name: sleeper
variables:
  SECONDS: {default: 1000}
sites:
  local: {image: epu-agent, args: [worker]}
agent:
  install: in-image
  run: [/bin/sleep, "${SECONDS}"]
---
schema: epu/v1
kind: pool
name: epu-test
deployable_type: sleeper
tick: 200ms
policy: {conf: {preserve_n: 2}}
placement: [{site: local}]
health: {heartbeat: 200ms, boot_grace: 30s}
drain: {timeout: 5s}
limits: {terminations: 50 per 1m}
`

// running is a node with a client.
type running struct {
	node   *daemon.Node
	client *relay.Client
}

// try starts a node on a data folder; a node that does not start is closed.
func try(t *testing.T, dir string, environ ...string) (*daemon.Node, error) {
	t.Helper()
	return tryAs(t, false, dir, environ...)
}

// tryAs starts a node as `epud run` does, or as `epud dev`.
func tryAs(t *testing.T, dev bool, dir string, environ ...string) (*daemon.Node, error) {
	t.Helper()
	conf, _, err := config.LoadNode(config.NodeOptions{Dev: true, Environ: append([]string{
		"EPU_DATA_DIR=" + dir, "EPU_LISTEN=127.0.0.1:0", "EPU_HTTP=127.0.0.1:0", "EPU_LOG_LEVEL=error",
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	return startAs(t, conf, dev, slog.DiscardHandler)
}

// startAs starts a node that logs somewhere.
func startAs(t *testing.T, conf config.Node, dev bool, log slog.Handler) (*daemon.Node, error) {
	t.Helper()
	node, err := daemon.New(daemon.Options{
		Conf: conf, Dev: dev, Clock: actors.WallClock{}, Getenv: func(string) string { return "" },
		Log: slog.New(log), Version: &msg.Version{Version: "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		return nil, errors.Join(err, node.Close(t.Context()))
	}
	return node, nil
}

// start starts a node on a data folder.
func start(t *testing.T, dir string, environ ...string) *running {
	t.Helper()
	node, err := try(t, dir, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return dial(t, node)
}

// samePort has the next node listen where agents look for this one. Workers that it never hears are kept.
func (r *running) samePort() string { return "EPU_HTTP=" + r.node.HTTPAddress() }

// dial gives a running node a client.
func dial(t *testing.T, node *daemon.Node) *running {
	t.Helper()
	client, err := relay.Dial(node.RelayAddress(), relay.ClientOptions{User: "anna", NewID: func() string { return ulid.Make().String() }})
	if err != nil {
		t.Fatal(err)
	}
	return &running{node, client}
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	if err := r.client.Close(); err != nil {
		t.Error(err)
	}
	if err := r.node.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// await watches the status until it is as wanted.
func (r *running) await(t *testing.T, what string, ok func(*msg.Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var last *msg.Status
	for s, err := range relay.Watch[*msg.Status](ctx, r.client, &msg.StatusQuery{}) {
		if err != nil {
			t.Fatalf("waiting until %s: %v; last status %v", what, err, last)
		}
		if last = s; ok(s) {
			return
		}
	}
	t.Fatalf("the watch ended before %s", what)
}

func ask[T proto.Message](t *testing.T, r *running, body proto.Message) T {
	t.Helper()
	answer, err := relay.Ask[T](t.Context(), r.client, body)
	if err != nil {
		t.Fatalf("%T: %v", body, err)
	}
	return answer
}

func converged(n int32) func(*msg.Status) bool {
	return func(s *msg.Status) bool {
		return len(s.GetPools()) == 1 && s.GetPools()[0].GetConverged() == "yes" && s.GetPools()[0].GetHave() == n
	}
}

func (r *running) instances(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, i := range ask[*msg.Instances](t, r, &msg.InstancesQuery{}).GetInstances() {
		if !i.GetEnded() {
			out[i.GetInstance()] = i.GetWorker()
		}
	}
	return out
}

// Goal: the whole path with real processes: apply, run, kill, scale, restart, freeze, terminate-all.
// Method: a node in this process, asked through its relay as epumgmt does.
func TestNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, dir)
	defer func() { r.stop(t) }()
	pool := &msg.File{Path: "pool.yaml", Content: []byte(files)}
	plan := ask[*msg.Plan](t, r, &msg.PlanQuery{Files: []*msg.File{pool}})
	if len(plan.GetChanges()) != 3 {
		t.Fatalf("plan: got %v, want 3 additions", plan)
	}
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{pool}, Index: plan.GetIndex()})
	r.await(t, "two workers run", converged(2))
	before := r.instances(t)

	for id := range before {
		ask[*msg.Done](t, r, &msg.Kill{Instance: id, Reason: "test"})
		break
	}
	r.await(t, "the killed one is replaced", func(s *msg.Status) bool {
		if !converged(2)(s) || s.GetPools()[0].GetEnding() > 0 {
			return false
		}
		for id := range r.instances(t) {
			if before[id] == "" {
				return true
			}
		}
		return false
	})

	ask[*msg.Done](t, r, &msg.Scale{Pool: "epu-test", N: 3})
	r.await(t, "three workers run", converged(3))
	lived := r.instances(t)
	r.stop(t)
	r = start(t, dir)
	r.await(t, "the workers are found again", converged(3))
	for id, w := range r.instances(t) {
		if lived[id] != w {
			t.Errorf("instance %s is worker %s after the restart, was %q", id, w, lived[id])
		}
	}

	ask[*msg.Done](t, r, &msg.TerminateAll{})
	r.await(t, "nothing is left", func(s *msg.Status) bool {
		return len(ask[*msg.Done](t, r, &msg.TerminateAll{}).GetLeft()) == 0 && s.GetSites()[0].GetInstances() == 0
	})
}

// Goal: refusals name everything that is wrong, and change nothing.
func TestRefusals(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	for _, tt := range []struct {
		name string
		body proto.Message
		kind epu.Kind
		want string
	}{
		{"unknown pool", &msg.Scale{Pool: "nope", N: 1}, epu.NotFound, "nope"},
		{"unknown instance", &msg.Kill{Instance: "i-1"}, epu.NotFound, "i-1"},
		{"unknown site", &msg.SweepQuery{Site: "mars"}, epu.NotFound, "mars"},
		{"moved plan", &msg.Apply{Files: []*msg.File{{Path: "p.yaml", Content: []byte(files)}}, Index: "old"}, epu.Conflict, "plan"},
		{
			"unknown policy",
			&msg.PlanQuery{Files: []*msg.File{{Path: "p.yaml", Content: []byte(strings.Replace(files, "policy: {", "policy: {name: nopreserving, ", 1))}}},
			epu.Invalid, "2 problems", // no such policy, and any other than npreserving needs limits.max
		},
		{
			"wrong configuration",
			&msg.PlanQuery{Files: []*msg.File{{Path: "p.yaml", Content: []byte(strings.Replace(files, "preserve_n: 2", "preserve_n: -2, colour: red", 1))}}},
			epu.Invalid, "2 problems",
		},
	} {
		_, err := relay.Ask[proto.Message](t.Context(), r.client, tt.body)
		if epu.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v (%v), want %v with %q", tt.name, err, epu.KindOf(err), tt.kind, tt.want)
		}
	}
	if s := ask[*msg.Status](t, r, &msg.StatusQuery{}); len(s.GetPools())+len(s.GetSites()) > 0 {
		t.Errorf("refused files were applied: %v", s)
	}
}

// Goal: a node that can't begin leaves its folder and its ports to the next one.
// Method: a certificate that is none, then a node on the same folder and addresses.
func TestStartThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, dir)
	listen, http := r.node.RelayAddress(), r.node.HTTPAddress()
	r.stop(t)
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := try(t, dir, "EPU_LISTEN="+listen, "EPU_HTTP="+http, "EPU_TLS_CERT="+file, "EPU_TLS_KEY="+file, "EPU_EVENTS_FILE="+filepath.Join(dir, "events"))
		if epu.KindOf(err) != epu.Invalid || !strings.Contains(err.Error(), file) {
			t.Fatalf("got %v, want the certificate refused", err)
		}
	}
	node, err := try(t, dir, "EPU_LISTEN="+listen, "EPU_HTTP="+http)
	if err != nil {
		t.Fatalf("after starts that failed: %v", err)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// Goal: check, dump and backup work while the node runs, and restore says what to do about it.
// Method: the commands on the data folder of a node in this process, then a restore after its end.
func TestJournalOfARunningNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := start(t, dir)
	pool := &msg.File{Path: "pool.yaml", Content: []byte(files)}
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{pool}})
	ask[*msg.Done](t, r, &msg.Scale{Pool: "epu-test", N: 0})
	backup := filepath.Join(t.TempDir(), "epu.backup")
	for _, tt := range []struct {
		args        string
		code        int
		out, errout string
	}{
		{"check", 0, "epoch 1: ", ""},
		{"dump --stream pool/", 0, `"stream":"pool/default/epu-test"`, ""},
		{"backup " + backup, 0, "", ""},
		{"backup -", 0, "{\"epu_archive\":1", ""},
		{"restore " + backup, 12, "", "try: stop the node first"},
	} {
		code, out, errs := command(t, append([]string{"journal", "--data-dir", dir}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errout) {
			t.Errorf("epud journal %s: got %d\n%.200s\n%swant %d with %q and %q", tt.args, code, out, errs, tt.code, tt.out, tt.errout)
		}
	}
	r.stop(t)
	code, out, errs := command(t, "journal", "restore", "--data-dir", dir, backup)
	if code != 0 || !strings.Contains(out, "epoch 2 and in recovery") {
		t.Errorf("restore of what the running node wrote: got %d\n%s%s", code, out, errs)
	}
}

// Goal: a policy can't be told to read a sensor, or to launch at a site, that its pool does not have, neither by a file
// nor later; an empty site is none. Method: reconfigure a pool with two sensors and one site.
func TestReconfigureKnowsSensorsAndSites(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "data"))
	defer r.stop(t)
	pool := strings.Replace(files, "policy: {conf: {preserve_n: 2}}", "policy: {name: queuelen, conf: {sensor: depth, queuelen_high_water: 9, queuelen_low_water: 1}}\nsensors: {depth: {source: push}, other: {source: push}}", 1)
	pool = strings.Replace(pool, "limits: {", "limits: {max: 2, ", 1)
	ask[*msg.Applied](t, r, &msg.Apply{Files: []*msg.File{{Path: "pool.yaml", Content: []byte(pool)}}})
	for _, c := range []struct{ key, value, done, refused string }{
		{"sensor", "other", `sensor = "other"`, ""},
		{"sensor", "dept", "", "reads the sensor dept, which the pool does not have; did you mean depth?"},
		{"site", "local", `site = "local"`, ""},
		{"site", "locla", "", "launches at the site locla, which is not in the pool's placement; did you mean local?"},
		{"force_site", "mars", "", "add it to placement in the pool's file, which has local"},
		{"site", "", "site = null", ""},
		{"site", "", "nothing to change", ""},
	} {
		done, err := relay.Ask[*msg.Done](t.Context(), r.client, &msg.Reconfigure{Pool: "epu-test", Conf: &structpb.Struct{
			Fields: map[string]*structpb.Value{c.key: structpb.NewStringValue(c.value)},
		}})
		if (epu.KindOf(err) == epu.Invalid) != (c.refused != "") || !strings.Contains(fmt.Sprint(err), c.refused) || !strings.Contains(done.GetText(), c.done) {
			t.Errorf("%s=%s: got %q, %v, want %q or %q", c.key, c.value, done.GetText(), err, c.done, c.refused)
		}
	}
}
