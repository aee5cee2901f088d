package actors

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// workers are the children of one controller: an actor for each worker whose agent is listened to.
type workers struct {
	tree  *Tree
	pool  epu.PoolID
	props *actor.Props // of every child: there are many
}

func newWorkers(t *Tree, pool epu.PoolID) *workers {
	return &workers{tree: t, pool: pool, props: workerProps(t.System)}
}

// workerProps makes the properties of worker actors. They have no children to supervise.
func workerProps(sys *System) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &workerActor{sys: sys} }, actor.WithMailbox(newInbox))
}

// follow starts, tells and stops children as the controller's core says.
func (w *workers) follow(ctx actor.Context, c *Controller) {
	for _, ch := range c.Children() {
		addr := msg.WorkerAddress(epu.DefaultOwner, w.pool, ch.Worker)
		pid := w.tree.Actors.NewLocalPID(string(addr))
		if ch.Stop {
			ctx.Stop(pid)
			continue
		}
		if _, ok := w.tree.Actors.ProcessRegistry.GetLocal(string(addr)); !ok {
			if _, err := ctx.SpawnNamed(w.props, string(ch.Worker)); err != nil {
				w.tree.Log.Error("worker's actor can't be started", "pool", w.pool, "worker", ch.Worker, "error", err)
				continue
			}
		}
		ctx.Send(pid, ch.Watch)
	}
}

// lose stops all children: the next incarnation of the controller starts its own.
func (w *workers) lose(ctx actor.Context) {
	for _, pid := range ctx.Children() {
		ctx.Stop(pid)
	}
}

// workerActor runs a worker's core on protoactor. One that is restarted has forgotten everything: the
// controller's next Look says what it needs to know.
type workerActor struct {
	sys  *System
	core *Worker
}

// Receive hands messages to the core.
func (a *workerActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.core = newWorkerAt(msg.Address(ctx.Self().Id))
	case actor.SystemMessage, actor.AutoReceiveMessage, *actor.DeadLetterResponse:
	default:
		from := msg.Address("")
		if s := ctx.Sender(); s != nil {
			from = msg.Address(s.Id)
		}
		self := ctx.Self()
		known := a.core.Handle(a.sys.Clock.Now(), from, m, func(to msg.Address, m any) {
			if to != "" {
				a.sys.send(to, self, m)
			}
		})
		if !known {
			a.sys.unknown(self.Id, m)
		}
	}
}

// newWorkerAt makes the core of the worker with that address, which is its controller's and its own ID.
func newWorkerAt(addr msg.Address) *Worker {
	for slashes, i := 0, len(addr)-1; i >= 0; i-- {
		if addr[i] == '/' {
			if slashes++; slashes == 2 { // a worker's ID has one of its own
				return NewWorker(epu.WorkerID(addr[i+1:]), addr[:i])
			}
		}
	}
	return NewWorker(epu.WorkerID(addr), "")
}

// failing is the executor of a site that can't be used: every call gives the reason.
func failing(err error) Executor {
	return func(context.Context, any) (any, error) { return nil, err }
}

func typeName(m any) string { return fmt.Sprintf("%T", m) }
