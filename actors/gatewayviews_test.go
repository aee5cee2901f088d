package actors_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// late is a history that shows records only once it was flushed, as one on a disk may.
type late struct {
	persistence.History
	mu   sync.Mutex // guards held: actors record while the gateway flushes
	held []persistence.Record
}

func (l *late) Record(r persistence.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, r)
}

func (l *late) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.held {
		l.History.Record(r)
	}
	l.held = nil
	return l.History.Flush(ctx)
}

// Goal: who ended a worker and then asks for the ended ones is shown it. Method: a kill, and instances --all as the
// first question to a history that lags until it is flushed.
func TestEndedAreReadAfterTheyAreWritten(t *testing.T) {
	inNode(t, func(n *node) {
		n.stop()
		n.history = &late{History: memory.NewHistory(0)}
		n.start()
		n.apply(treePool("web", 1))
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		n.command("web", &msg.Kill{Instance: string(n.alive()[0])})
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		ended := 0
		for _, i := range newOperator(n).ask(&msg.InstancesQuery{All: true}).(*msg.Instances).GetInstances() {
			if i.GetEnded() {
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("got %d ended workers, want the one that was killed", ended)
		}
	})
}

// Goal: each of several things that are wrong with a command arrives by itself, and one alone as the reason. Method:
// readings of sensors that a pool does not have.
func TestEachProblemArrives(t *testing.T) {
	inNode(t, func(n *node) {
		n.apply(treePool("web", 1))
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		push := func(sensors ...string) error {
			var values []*msg.SensorValue
			for _, name := range sensors {
				values = append(values, &msg.SensorValue{Sensor: name, Value: proto.Float64(1)})
			}
			_, err := n.Ask(context.Background(), msg.ControllerAddress(epu.DefaultOwner, "web"), msg.Command{Sender: msg.Sender{ID: "1", User: "agent"}, Body: pushed(values...)})
			return err
		}
		var r *msg.Refusal
		err := push("a", "b")
		if !errors.As(err, &r) || len(r.List) != 2 || !strings.Contains(r.List[1].GetText(), `"b"`) || !strings.Contains(err.Error(), r.List[0].GetText()+"; ") || epu.TryOf(err) == "" {
			t.Errorf("two: got %v with %v, try %q", err, r, epu.TryOf(err))
		}
		if err := push("a"); errors.As(err, &r) || !strings.Contains(err.Error(), `"a"`) || epu.KindOf(err) != epu.Invalid {
			t.Errorf("one: got %v", err)
		}
	})
}

// Goal: an agent that is earlier than its launch's record is told so by a kind, on which others decide. Method: a
// check-in of a machine that a launch in force does not list.
func TestTooEarlyCheckIn(t *testing.T) {
	inNode(t, func(n *node) {
		n.apply(treePool("web", 1))
		n.expect(time.Minute, 1, map[epu.PoolID]int{"web": 1})
		launch := n.pool("web").Workers[0].Launch
		_, err := n.Ask(context.Background(), msg.ControllerAddress(epu.DefaultOwner, "web"), msg.CheckInWorker{Launch: launch, Instance: "i-early"})
		if epu.KindOf(err) != epu.Transient {
			t.Errorf("got %v of the kind %v, want transient", err, epu.KindOf(err))
		}
	})
}
