package actors

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// ward is an actor that counts, and now and then panics. Its numbers are not guarded: its mailbox has to.
type ward struct {
	sum, starts *int
	inside      *atomic.Int32
	done        *sync.WaitGroup
}

type poison struct{}

func (w *ward) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		*w.starts++
	case int:
		if w.inside.Add(1) != 1 {
			panic("two at once")
		}
		*w.sum += m
		w.inside.Add(-1)
		w.done.Done()
	case poison:
		defer w.done.Done()
		panic("poison")
	}
}

// instant is a clock whose timers have all passed: a failed actor is begun anew at once.
type instant struct{ WallClock }

func (instant) AfterFunc(_ time.Duration, f func()) func() bool {
	f()
	return func() bool { return false }
}

// parent starts one child and supervises it by our rule.
type parent struct {
	child *actor.Props
	pid   chan *actor.PID
}

func (p *parent) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Started); ok {
		p.pid <- ctx.Spawn(p.child)
	}
}

// Goal: an inbox has its actor run by one sender at a time, in the order of each sender, loses nothing,
// and survives panics. Method: many senders at once, whose numbers must add up without another lock.
func TestInboxIsOneAtATime(t *testing.T) {
	const senders, each = 8, 500
	sys := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	defer sys.Shutdown()
	var restarts atomic.Uint64
	var sum, starts int
	var inside atomic.Int32
	var done sync.WaitGroup
	w := &ward{&sum, &starts, &inside, &done}
	p := &parent{pid: make(chan *actor.PID, 1), child: actor.PropsFromProducer(func() actor.Actor { return w }, actor.WithMailbox(newInbox))}
	rule := &supervisor{clock: instant{}, log: slog.New(slog.DiscardHandler), restarts: &restarts}
	sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }, actor.WithSupervisor(rule)))
	pid := <-p.pid

	done.Add(senders * (each + 1))
	for range senders {
		go func() {
			for i := 1; i <= each; i++ {
				if i == each/2 {
					sys.Root.Send(pid, poison{})
				}
				sys.Root.Send(pid, i)
			}
		}()
	}
	done.Wait()
	if err := sys.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	if want := senders * each * (each + 1) / 2; sum != want {
		t.Errorf("got the sum %d, want %d", sum, want)
	}
	if starts != senders+1 || restarts.Load() != senders {
		t.Errorf("got %d starts and %d restarts, want one restart for each of %d panics", starts, restarts.Load(), senders)
	}
}

// invoked notes what a mailbox has its actor do.
type invoked struct{ got []any }

func (i *invoked) InvokeSystemMessage(m any) { i.got = append(i.got, m) }
func (i *invoked) InvokeUserMessage(m any)   { i.got = append(i.got, m) }
func (i *invoked) EscalateFailure(any, any)  {}

// Goal: what reaches a mailbox before its actor can be run waits for the actor's start, system messages
// first, and a suspended one keeps its messages. Method: the calls that the library makes, by hand.
func TestInboxKeepsWhatIsEarly(t *testing.T) {
	m := newInbox()
	m.PostUserMessage("early")
	m.PostSystemMessage("system")
	var i invoked
	m.RegisterHandlers(&i, nil)
	m.PostUserMessage("still early")
	if len(i.got) != 0 || m.UserMessageCount() != 2 {
		t.Fatalf("got %v and %d waiting, want nothing before the start and 2", i.got, m.UserMessageCount())
	}
	start := &actor.Started{}
	m.PostSystemMessage(start)
	m.Start()
	m.PostSystemMessage(&actor.SuspendMailbox{})
	m.PostUserMessage("kept")
	m.PostSystemMessage("heard")
	m.PostSystemMessage(&actor.ResumeMailbox{})
	m.PostUserMessage("last")
	want := []any{start, "system", "early", "still early", "heard", "kept", "last"}
	if len(i.got) != len(want) {
		t.Fatalf("got %v, want %v", i.got, want)
	}
	for k := range want {
		if i.got[k] != want[k] {
			t.Errorf("got %v as number %d, want %v", i.got[k], k+1, want[k])
		}
	}
	if n := m.UserMessageCount(); n != 0 {
		t.Errorf("%d messages wait, want none", n)
	}
}
