package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors"
	"github.com/nimbus-epu/epu/actors/msg"
	"github.com/nimbus-epu/epu/iaas/sim"
	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/memory"
)

// weakJournal is a store that is slow or full, and notes who uses it after its end.
type weakJournal struct {
	*memory.Journal
	slow   time.Duration
	full   atomic.Bool
	inside atomic.Int64
	closed atomic.Bool
	late   atomic.Int64 // uses after the end
}

func (j *weakJournal) use() (done func()) {
	j.inside.Add(1)
	if j.closed.Load() {
		j.late.Add(1)
	}
	time.Sleep(j.slow)
	return func() { j.inside.Add(-1) }
}

func (j *weakJournal) Load(ctx context.Context, s epu.StreamID) (persistence.Loaded, error) {
	defer j.use()()
	return j.Journal.Load(ctx, s)
}

func (j *weakJournal) Append(ctx context.Context, e epu.Epoch, s epu.StreamID, at epu.Revision, ev ...persistence.Event) (epu.Revision, error) {
	defer j.use()()
	if j.full.Load() {
		return 0, persistence.ErrUnavailable
	}
	return j.Journal.Append(ctx, e, s, at, ev...)
}

// weakClouds are clouds whose calls may take long, or until they are told to end.
type weakClouds struct {
	*clouds
	takes       time.Duration // of each call
	out, broken atomic.Int64  // calls that run, and that were told to end
}

func (c *weakClouds) Site(spec epu.SiteSpec) (actors.Executor, error) {
	exec, err := c.clouds.Site(spec)
	return func(ctx context.Context, call any) (any, error) {
		c.out.Add(1)
		defer c.out.Add(-1)
		select {
		case <-time.After(c.takes):
			return exec(ctx, call)
		case <-ctx.Done():
			c.broken.Add(1)
			return nil, ctx.Err()
		}
	}, err
}

// weakNode starts a node on a weak store and weak clouds, with one pool.
func weakNode(t *testing.T, j *weakJournal, takes time.Duration) (*node, *weakClouds) {
	j.Journal = memory.New(testMeta())
	c := &weakClouds{clouds: &clouds{cloud: map[epu.SiteID]*sim.Cloud{}}, takes: takes}
	var ids atomic.Uint64
	sys := actors.NewSystem(actors.WallClock{}, j, memory.NewHistory(0), slog.New(slog.DiscardHandler), func() string {
		return fmt.Sprintf("%08d", ids.Add(1))
	})
	tree, err := actors.Start(sys, c)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Tree: tree, t: t, journal: j.Journal, clouds: c.clouds}
	time.Sleep(10 * time.Second)
	n.apply(treePool("web", 2))
	return n, c
}

// Goal: a node that is told to stop right after a change of its pools stops at once, although the registry tells of
// the change while the parent of the pools' controllers is ending: it starts none of them again. Method: many nodes,
// since it depends on who is first.
func TestStopRightAfterAChange(t *testing.T) {
	for range 40 {
		inNode(t, func(n *node) {
			o := newOperator(n)
			o.files.pools = []epu.PoolSpec{treePool("web", 1), treePool("db", 1)}
			o.ask(&msg.Apply{})
			n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 1, "db": 1})
			o.ask(&msg.Remove{Pool: "db"})
			began := time.Now()
			n.stop()
			if took := time.Since(began) - libraryEnds; took > 5*time.Second {
				t.Errorf("stopping took %v", took)
			}
			n.start() // the bubble stops it
		})
	}
}

// Goal: once a node has stopped nothing of it uses the store or a cloud any more, short calls end by
// themselves, and long ones are told to. Method: a store whose every use takes a second and calls that
// take longer than the moment of the stop, at many moments.
func TestStopAwaitsWhatRuns(t *testing.T) {
	for _, c := range []struct {
		name   string
		takes  time.Duration
		least  time.Duration // of the stop, at one of the moments
		most   time.Duration
		broken bool
	}{
		{name: "short calls", takes: 3 * time.Second, least: time.Second, most: 4 * time.Second},
		{name: "long calls", takes: 15 * time.Second, least: 5 * time.Second, most: 7 * time.Second, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var longest time.Duration
			told := int64(0)
			for moment := range 10 {
				synctest.Test(t, func(t *testing.T) {
					j := &weakJournal{slow: time.Second}
					n, clouds := weakNode(t, j, c.takes)
					time.Sleep(time.Duration(moment) * 700 * time.Millisecond)
					begin := time.Now()
					n.Stop()
					took := time.Since(begin)
					longest = max(longest, took)
					told += clouds.broken.Load()
					if u, out := j.inside.Load(), clouds.out.Load(); u != 0 || out != 0 {
						t.Errorf("moment %d: after the stop the store has %d users and the cloud %d", moment, u, out)
					}
					j.closed.Store(true)
					time.Sleep(2 * time.Minute)
					if late := j.late.Load(); late > 0 {
						t.Errorf("moment %d: the store was used %d times after the stop", moment, late)
					}
				})
			}
			if longest < c.least || longest > c.most {
				t.Errorf("the longest stop took %v, want %v to %v", longest, c.least, c.most)
			}
			if (told > 0) != c.broken {
				t.Errorf("%d calls were told to end, want some: %v", told, c.broken)
			}
		})
	}
}

// Goal: operators see that the store can't be written and what waits for it, and that it is over. Method:
// a store that is full for a while.
func TestDegradedIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &weakJournal{}
		n, _ := weakNode(t, j, 0)
		n.expect(time.Minute, 2, map[epu.PoolID]int{"web": 2})
		if n.Degraded() || n.Waiting()["controller"] != 0 {
			t.Errorf("got degraded %v and %v waiting in peace", n.Degraded(), n.Waiting())
		}
		j.full.Store(true)
		to := n.Actors.NewLocalPID(string(msg.ControllerAddress(epu.DefaultOwner, "web")))
		for i := range 5 {
			n.Actors.Root.Send(to, msg.Command{Sender: msg.Sender{ID: fmt.Sprint(i)}, Body: &msg.FreezeCommand{Pool: "web"}})
		}
		time.Sleep(30 * time.Second)
		if !n.Degraded() || n.Waiting()["controller"] < 4 {
			t.Errorf("got degraded %v and %v waiting while the store is full", n.Degraded(), n.Waiting())
		}
		j.full.Store(false)
		time.Sleep(time.Minute)
		if n.Degraded() || n.Waiting()["controller"] != 0 {
			t.Errorf("got degraded %v and %v waiting afterwards", n.Degraded(), n.Waiting())
		}
		n.stop()
		if w := n.Waiting(); n.Degraded() || w["site"]+w["registry"]+w["controller"] != 0 {
			t.Errorf("got degraded %v and %v waiting in a stopped node", n.Degraded(), w)
		}
	})
}
