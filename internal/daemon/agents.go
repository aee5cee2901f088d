package daemon

import (
	"context"
	"errors"

	"github.com/nimbus-epu/epu"
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
		return msg.CheckedIn{}, a.gone(err)
	}
	w, ok := answer.(msg.WorkerCheckedIn)
	if !ok {
		return msg.CheckedIn{}, epu.E(epu.Internal, "check in", string(in.Instance), errors.New("unexpected answer"))
	}
	return msg.CheckedIn{
		Worker: w.Worker, Name: w.Name, Vars: w.Vars,
		Token:            a.node.signer.Worker(claims.Installation, claims.Owner, claims.Pool, w.Worker),
		HeartbeatSeconds: w.Heartbeat.Seconds(), DrainSeconds: w.Drain.Seconds(),
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
		return msg.BeatReply{}, a.gone(err)
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

// gone tells a worker that is no more from one whose actors have not come up yet: only after every
// controller has been activated does a missing actor mean that the worker has ended.
func (a *agents) gone(err error) error {
	if epu.KindOf(err) == epu.NotFound && !a.node.activated() {
		return epu.E(epu.Unavailable, "answer agent", "", errors.New("this node is starting"))
	}
	return err
}
