package agent

// Goal: show that the shell carries out what the core decides, over HTTP and with programs, in time.
// Method: testing/synctest bubbles with an in-memory round-tripper for the nodes and programs made of
// channels; hours pass in milliseconds, and a leaked goroutine fails the bubble.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/internal/agent/child"
)

// memNode is a node in memory. It honours the request's context like a real transport.
type memNode struct {
	mu       sync.Mutex // the agent's requests come from several goroutines
	status   int        // instead of 200, when set
	body     string     // instead of the right one, when set
	hang     map[string]bool
	checkIns []msg.CheckIn
	beats    []msg.Beat
	times    []time.Time
	hosts    []string
	auth     []string
	polls    int
	orders   chan msg.AgentCommand
	pending  []msg.AgentCommand
	seen     chan msg.Beat // gets every answered beat, when set
	greeting msg.CheckedIn
}

func newMemNode() *memNode {
	return &memNode{hang: map[string]bool{}, orders: make(chan msg.AgentCommand), greeting: testCheckedIn}
}

func (n *memNode) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *memNode) RoundTrip(req *http.Request) (*http.Response, error) {
	n.mu.Lock()
	status, body, hang := n.status, n.body, n.hang[req.URL.Host]
	n.mu.Unlock()
	if hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if req.URL.Path == msg.AgentCommandsPath && status == 0 && body == "" {
		n.wait(req.Context())
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
	}
	if status == 0 {
		status = http.StatusOK
	}
	if body == "" && status == http.StatusOK {
		body = n.answer(req)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// wait is the long poll.
func (n *memNode) wait(ctx context.Context) {
	timer := time.NewTimer(pollWait)
	defer timer.Stop()
	select {
	case cmd := <-n.orders:
		n.set(func() { n.pending = append(n.pending, cmd) })
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (n *memNode) answer(req *http.Request) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.auth = append(n.auth, req.Header.Get("Authorization"))
	var answer any
	switch req.URL.Path {
	case msg.AgentCheckInPath:
		var in msg.CheckIn
		decodeRequest(req, &in)
		n.checkIns = append(n.checkIns, in)
		answer = n.greeting
	case msg.AgentBeatPath:
		var b msg.Beat
		decodeRequest(req, &b)
		n.beats, n.times, n.hosts = append(n.beats, b), append(n.times, time.Now()), append(n.hosts, req.URL.Host)
		n.pending = slices.DeleteFunc(n.pending, func(c msg.AgentCommand) bool { return slices.Contains(b.Acked, c.ID) })
		answer = msg.BeatReply{Commands: n.pending}
		if n.seen != nil {
			n.seen <- b
		}
	case msg.AgentCommandsPath:
		n.polls++
		answer = msg.BeatReply{Commands: n.pending}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func decodeRequest(req *http.Request, to any) {
	if err := json.NewDecoder(req.Body).Decode(to); err != nil {
		panic(err)
	}
}

// memProgram is a program made of channels.
type memProgram struct {
	spec child.Spec
	exit chan child.Exit
	got  chan syscall.Signal
	deaf bool // to SIGTERM
}

func (p *memProgram) Pid() int { return 1 }

func (p *memProgram) Signal(sig syscall.Signal) error {
	p.got <- sig
	switch {
	case sig == syscall.SIGKILL:
		p.exit <- child.Exit{Status: -1, Signal: "SIGKILL"}
	case !p.deaf:
		p.exit <- child.Exit{Status: 0}
	}
	return nil
}

func (p *memProgram) Wait() child.Exit { return <-p.exit }

// bench is an agent in a bubble with its node and its programs.
type bench struct {
	t        *testing.T
	node     *memNode
	agent    *Agent
	started  []*memProgram
	deaf     bool
	stop     context.CancelFunc
	returned chan error
	log      bytes.Buffer
}

func newBench(t *testing.T, prepare ...func(*bench)) *bench {
	b := &bench{t: t, node: newMemNode(), returned: make(chan error, 1)}
	for _, p := range prepare {
		p(b)
	}
	random := rand.New(rand.NewPCG(1, 2))
	b.agent = New(Config{
		User: testUser, Instance: "i-1", Env: []string{"HOME=/root", "QUEUE=old"}, Stdout: &b.log, Stderr: &b.log,
		Clock: realClock{}, Random: random.Float64, Transport: b.node,
		start: func(s child.Spec) (process, error) {
			p := &memProgram{spec: s, exit: make(chan child.Exit, 2), got: make(chan syscall.Signal, 9), deaf: b.deaf}
			b.started = append(b.started, p)
			return p, nil
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.returned <- b.agent.Run(ctx) }()
	return b
}

// pass lets virtual time go by.
func (b *bench) pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func (b *bench) end(want error) {
	b.t.Helper()
	b.stop()
	if err := <-b.returned; !errors.Is(err, want) {
		b.t.Errorf("Run: got %v, want %v", err, want)
	}
}

func (b *bench) last() msg.Beat {
	b.node.mu.Lock()
	defer b.node.mu.Unlock()
	if len(b.node.beats) == 0 {
		b.t.Fatal("no beat was answered")
	}
	return b.node.beats[len(b.node.beats)-1]
}

func (b *bench) count() int {
	b.node.mu.Lock()
	defer b.node.mu.Unlock()
	return len(b.node.beats)
}

func TestAnHourOfBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.pass(time.Hour)
		if n := b.count(); n < 700 || n > 740 {
			t.Errorf("beats in an hour at 5 s: got %d, want about 720", n)
		}
		for i := 1; i < len(b.node.times); i++ {
			if gap := b.node.times[i].Sub(b.node.times[i-1]); gap < 4500*time.Millisecond || gap > 5500*time.Millisecond {
				t.Errorf("gap before beat %d: got %v, want 5 s within 10 %%", i+1, gap)
			}
			if b.node.beats[i].Seq != b.node.beats[i-1].Seq+1 {
				t.Errorf("beat %d: got seq %d after %d", i+1, b.node.beats[i].Seq, b.node.beats[i-1].Seq)
			}
		}
		if n := b.node.polls; n < 119 || n > 120 {
			t.Errorf("answered polls: got %d, want one each 30 s", n)
		}
		if want := (msg.CheckIn{Bootstrap: "boot", Launch: "epu-web-1-7", Instance: "i-1"}); len(b.node.checkIns) != 1 || b.node.checkIns[0] != want {
			t.Errorf("check-ins: got %+v, want one %+v", b.node.checkIns, want)
		}
		if b.node.auth[0] != "" || b.node.auth[1] != "Bearer tok" {
			t.Errorf("authorization: got %q, want none and then the token", b.node.auth[:2])
		}
		if len(b.started) != 1 {
			t.Fatalf("starts: got %d, want 1", len(b.started))
		}
		env := b.started[0].spec.Env
		want := []string{"HOME=/root", "QUEUE=old", "QUEUE=q", "EPU_WORKER=epu-web-1-7/0", "EPU_NAME=left"}
		if !slices.Equal(env, want) {
			t.Errorf("environment: got %q, want %q", env, want)
		}
		b.end(nil)
	})
}

func TestNodeAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.pass(time.Minute)
		b.node.set(func() { b.node.status = http.StatusServiceUnavailable })
		b.pass(time.Hour)
		if len(b.started) != 1 || len(b.started[0].got) != 0 {
			t.Errorf("the program was disturbed: %d starts, %d signals", len(b.started), len(b.started[0].got))
		}
		before := b.count()
		b.node.set(func() { b.node.status = 0 })
		b.pass(retryDelayMax)
		if b.count() == before {
			t.Error("no beat within 15 s of the node's return")
		}
		b.node.orders <- msg.AgentCommand{ID: "c1", Kind: "beat"} // somebody listens
		b.pass(0)
		if got := b.last().Acked; !slices.Equal(got, []string{"c1"}) {
			t.Errorf("acknowledged: got %q, want c1 at once", got)
		}
		b.end(nil)
	})
}

// A node that accepts and never answers costs one deadline, then the other node is used.
func TestHangingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.pass(time.Minute)
		b.node.set(func() { b.node.hang["a"] = true })
		before := b.count()
		b.pass(20 * time.Second)
		if b.count() == before || b.node.hosts[len(b.node.hosts)-1] != "b" {
			t.Errorf("got no beat at node b within 20 s: %q", b.node.hosts)
		}
		b.end(nil)
	})
}

func TestStrangeAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":       "<html>welcome to the hotel</html>",
		"wrong type":    `{"commands": "none"}`,
		"too long":      `{"commands": []` + strings.Repeat(" ", msg.AgentBodyMax) + `}`,
		"bad ID":        `{"commands": [{"id": "a b", "kind": "stop"}]}`,
		"bad heartbeat": `{"heartbeat_seconds": -1}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.pass(time.Minute)
				b.node.set(func() { b.node.body = body })
				b.pass(10 * time.Minute)
				b.node.set(func() { b.node.body = "" })
				before := b.count()
				b.pass(retryDelayMax)
				if b.count() == before || len(b.started) != 1 || len(b.started[0].got) != 0 {
					t.Errorf("beats again %v, starts %d; want an agent that goes on undisturbed", b.count() > before, len(b.started))
				}
				b.end(nil)
			})
		})
	}
}

func TestDrainStopOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.pass(time.Minute)
		b.node.orders <- msg.AgentCommand{ID: "c1", Kind: "drain"}
		b.pass(0)
		if got := b.last(); !got.Drained || got.State != stateOK {
			t.Errorf("after drain: got %+v, want drained", got)
		}
		b.pass(2 * time.Second)
		b.node.orders <- msg.AgentCommand{ID: "c2", Kind: "cancel-drain"}
		b.pass(0)
		if got := b.last(); got.Drained || got.Draining || len(b.started) != 2 {
			t.Errorf("after cancel: got %+v and %d starts, want a second start", got, len(b.started))
		}
		b.pass(2 * time.Second)
		b.node.orders <- msg.AgentCommand{ID: "c3", Kind: "stop"}
		if err := <-b.returned; err != nil {
			t.Errorf("after stop: got %v, want nil", err)
		}
		if got := b.last().Acked; !slices.Equal(got, []string{"c3"}) {
			t.Errorf("last words: got %q, want c3", got)
		}
		b.stop()
	})
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench) { b.deaf = true })
		b.pass(time.Minute)
		b.node.set(func() { b.node.status = http.StatusGone })
		began := time.Now()
		if err := <-b.returned; !errors.Is(err, ErrWorkerEnded) {
			t.Errorf("got %v, want %v", err, ErrWorkerEnded)
		}
		if took := time.Since(began); took < stopGrace || took > stopGrace+6*time.Second {
			t.Errorf("took %v, want a beat and the grace of 10 s", took)
		}
		p := b.started[0]
		if a, k := <-p.got, <-p.got; a != syscall.SIGTERM || k != syscall.SIGKILL {
			t.Errorf("signals: got %v %v, want SIGTERM, SIGKILL", a, k)
		}
		b.stop()
	})
}

func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench) { b.deaf = true })
		b.pass(time.Minute)
		b.stop()
		b.pass(time.Second)
		b.agent.Hurry()
		b.agent.Hurry()
		began := time.Now()
		b.end(nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v after the second signal, want nothing", took)
		}
	})
}

func TestFailureOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.pass(time.Minute)
		b.started[0].exit <- child.Exit{Status: 3, Stderr: "boom"}
		b.pass(0)
		got := b.last()
		want := msg.ProcessReport{Program: "work", ExitStatus: 3, Stderr: "boom"}
		if got.State != stateProcessError || len(got.Failed) != 1 || got.Failed[0] != want {
			t.Errorf("got %+v, want PROCESS_ERROR with %+v", got, want)
		}
		b.pass(20 * time.Second)
		if got := b.last(); got.State != stateOK || got.Failed != nil || len(b.started) != 2 {
			t.Errorf("later: got %+v with %d starts, want OK and 2", got, len(b.started))
		}
		b.end(nil)
	})
}

// The end of the agent before it has checked in is no wait.
func TestStopBeforeCheckIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench) { b.node.status = http.StatusTooEarly })
		b.pass(time.Minute)
		if len(b.started) != 0 {
			t.Errorf("starts before check-in: got %d, want 0", len(b.started))
		}
		b.end(nil)
	})
}
