package daemon

import (
	"context"
	"errors"
	"slices"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/cluster/identity"
)

// agents brings what agents say to the actors of their workers. It implements web.Agents.
type agents struct {
	node *Node
}

// CheckIn exchanges a launch's bootstrap token for a worker's own.
func (a *agents) CheckIn(ctx context.Context, claims identity.Claims, in msg.CheckIn) (msg.CheckedIn, error) {
	if claims.Launch != in.Launch {
		return msg.CheckedIn{}, epu.E(epu.Denied, "check in", string(in.Instance), errors.New("the token is of another launch"))
	}
	answer, err := a.node.tree.Ask(ctx, msg.ControllerAddress(claims.Owner, claims.Pool),
		msg.CheckInWorker{Launch: in.Launch, Instance: in.Instance})
	if err != nil {
		return msg.CheckedIn{}, a.gone(ctx, claims, err)
	}
	w, ok := answer.(msg.WorkerCheckedIn)
	if !ok {
		return msg.CheckedIn{}, epu.E(epu.Internal, "check in", string(in.Instance), errors.New("unexpected answer"))
	}
	return msg.CheckedIn{
		Worker: w.Worker, Name: w.Name, Vars: w.Vars,
		Token:            a.node.signer.Worker(claims.Installation, claims.Owner, claims.Pool, w.Worker),
		HeartbeatSeconds: w.Heartbeat.Seconds(), DrainSeconds: w.Drain.Timeout.Seconds(),
		DrainForever: w.Drain.Forever, DrainCommand: w.Drain.Command,
	}, nil
}

// Beat takes in a heartbeat.
func (a *agents) Beat(ctx context.Context, claims identity.Claims, beat msg.Beat) (msg.BeatReply, error) {
	return a.orders(ctx, claims, msg.BeatReceived{Worker: beat.Worker, At: a.node.opts.Clock.Now(), Beat: beat})
}

// Commands waits for a command that the agent has not seen.
func (a *agents) Commands(ctx context.Context, claims identity.Claims, after string) (msg.BeatReply, error) {
	reply, err := a.orders(ctx, claims, msg.CommandsQuery{After: after})
	if err != nil && ctx.Err() == nil && epu.KindOf(err) == epu.Unavailable {
		return msg.BeatReply{}, nil // nothing came: the agent polls again
	}
	return reply, err
}

func (a *agents) orders(ctx context.Context, claims identity.Claims, m any) (msg.BeatReply, error) {
	answer, err := a.node.tree.Ask(ctx, msg.WorkerAddress(claims.Owner, claims.Pool, claims.Worker), m)
	if err != nil {
		return msg.BeatReply{}, a.gone(ctx, claims, err)
	}
	orders, ok := answer.(msg.AgentOrders)
	switch {
	case !ok:
		return msg.BeatReply{}, epu.E(epu.Internal, "answer agent of", string(claims.Worker), errors.New("unexpected answer"))
	case orders.Gone:
		return msg.BeatReply{}, epu.E(epu.NotFound, "answer agent of", string(claims.Worker), errors.New("the worker has ended"))
	}
	return msg.BeatReply{Commands: orders.Commands}, nil
}

// gone judges an answer "not found". The agent of a worker that has ended stops its programs, so this is
// said only when it is certain: the registry has no such pool, or the pool's controller has taken in its
// stream and has no such worker. An actor that is being restarted is no proof, nor is a restored store.
func (a *agents) gone(ctx context.Context, claims identity.Claims, err error) error {
	if epu.KindOf(err) != epu.NotFound {
		return err
	}
	unsure := func(why string) error {
		return epu.E(epu.Unavailable, "answer agent of", string(claims.Worker), errors.New(why))
	}
	if a.node.journal.Meta().Recovery {
		return unsure("the store was restored: the operator has to decide about this machine")
	}
	if _, epoch, _, ok := claims.Launch.Parse(); ok && epoch != a.node.journal.Meta().Epoch {
		return unsure("it is from another life of the store, which may know more of it than this one")
	}
	answer, askErr := a.node.tree.Ask(ctx, actors.RegistryAddress, msg.RegistryQuery{})
	registry, ok := answer.(msg.RegistryView)
	if askErr != nil || !ok {
		return unsure("this node is starting")
	}
	if _, ok := registry.Pools[claims.Pool]; !ok {
		return err
	}
	answer, askErr = a.node.tree.Ask(ctx, msg.ControllerAddress(claims.Owner, claims.Pool), msg.PoolQuery{})
	pool, ok := answer.(msg.PoolView)
	if askErr != nil || !ok {
		return unsure("the pool's controller is starting")
	}
	if mayLive(pool.Workers, claims) {
		return unsure("the worker's actor is starting")
	}
	return err
}

// mayLive reports that an agent may be one of these workers', or become it. The end of a worker may be
// decided and still wait for its hook, which only its actor is told of: until that is there, nobody knows.
func mayLive(workers []*epu.Worker, claims identity.Claims) bool {
	return slices.ContainsFunc(workers, func(w *epu.Worker) bool {
		if claims.Worker == "" {
			return w.Launch == claims.Launch && w.Open()
		}
		return w.ID == claims.Worker && !w.State.Gone()
	})
}
