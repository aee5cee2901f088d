package reconcile_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

// asks is a decision that ends workers, one call a line from line 1 on; each call names workers by their places.
func asks(w *world, calls ...[]int) (acts []epu.Action) {
	for i, call := range calls {
		a := epu.Action{Kind: epu.ActTerminate, At: fmt.Sprintf("p.lua:%d", i+1)}
		for _, place := range call {
			a.Workers = append(a.Workers, w.in.Workers[place].ID)
		}
		acts = append(acts, a)
	}
	return acts
}

func (w *world) find(id epu.WorkerID) *epu.Worker {
	for _, x := range w.in.Workers {
		if x.ID == id {
			return x
		}
	}
	return nil
}

// Goal: a decision that ends more than half and more than a whole window allows is refused, with the call that went too
// far, how many, and the rail with its place; no other is. Method: pools of ten, and what is different of them.
func TestOverreach(t *testing.T) {
	hour := func(n int) epu.Limits { return epu.Limits{Terminations: epu.Count{N: n, Window: time.Hour}} }
	for _, c := range []struct {
		name   string
		limits epu.Limits
		change func(i int, x *epu.Worker)
		calls  [][]int
		want   string // empty = nothing is wrong
	}{
		{"as many as the rail allows", hour(3), nil, [][]int{{0, 1}, {2}}, ""},
		{"more, but no more than half", hour(3), nil, [][]int{{0, 1, 2}, {3}, {4}}, ""},
		{"one more than half, by the third call", hour(3), nil, [][]int{{0, 1, 2}, {3, 4}, {5}, {6}}, "p.lua:3: control.terminate was asked to end 7 of 10 workers in service at once, more than half, but limits.terminations (web.yaml:7) allows 3 in 1h: nothing"},
		{"more than half, by the rail", hour(6), nil, [][]int{{0, 1, 2, 3, 4, 5}}, ""},
		{"the same worker again", hour(2), nil, [][]int{{0, 1}, {1, 0}, {0}}, ""},
		{"one always may be", epu.Limits{Terminations: epu.Count{N: 1, Window: time.Hour}}, nil, [][]int{{4}}, ""},
		{"the default", epu.Limits{Terminations: epu.Count{Window: 10 * time.Minute}}, nil, [][]int{{0, 1, 2}, {3, 4}, {5}}, "p.lua:3: control.terminate was asked to end 6 of 10 workers in service at once, more than half, but limits.terminations (web.yaml:7) allows 20% of the workers, here 2, in 10m: nothing"},
		{"the narrower of two", epu.Limits{Terminations: epu.Count{N: 5, Window: time.Hour}, Loss: epu.Share{Percent: 30, Window: 90 * time.Second}}, nil, [][]int{{0, 1, 2, 3, 4, 5}}, "p.lua:1: control.terminate was asked to end 6 of 10 workers in service at once, more than half, but limits.loss (its default) allows 30% of the workers, here 3, in 1m30s: nothing"},
		{"the narrower is the other", epu.Limits{Terminations: epu.Count{N: 2, Window: time.Hour}, Loss: epu.Share{Percent: 30, Window: time.Hour}}, nil, [][]int{{0, 1, 2, 3, 4, 5}}, "limits.terminations (web.yaml:7) allows 2 in 1h"},
		{"no rail", epu.Limits{}, nil, [][]int{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, ""},
		{"half of those that do not drain", hour(1), func(i int, x *epu.Worker) { x.Draining = i > 3 }, [][]int{{0, 1, 9}}, ""},
		{"more than half of those that do not drain", hour(1), func(i int, x *epu.Worker) { x.Draining = i > 3 }, [][]int{{0, 1, 2}}, "p.lua:1: control.terminate was asked to end 3 of 4 workers"},
		{"both of two", hour(1), func(i int, x *epu.Worker) { x.Draining = i > 1 }, [][]int{{0}, {1}}, "p.lua:2: control.terminate was asked to end 2 of 2 workers"},
		{"the only one", hour(1), func(i int, x *epu.Worker) { x.Draining = i > 0 }, [][]int{{0}}, ""},
		{"what drains", hour(1), func(i int, x *epu.Worker) { x.Draining = i > 0 }, [][]int{{0, 1, 2, 3}}, ""},
		{"what fails", hour(1), func(i int, x *epu.Worker) { x.Health = map[bool]epu.Health{true: epu.Missing}[i > 0] }, [][]int{{0, 1, 2, 3}}, ""},
		{"what has no machine", hour(1), func(i int, x *epu.Worker) {
			x.State = map[bool]epu.State{true: epu.Requested, false: epu.Running}[i > 0]
		}, [][]int{{0, 1, 2, 3}}, ""},
		{"what starts", hour(1), func(i int, x *epu.Worker) { x.State = epu.Pending }, [][]int{{0, 1, 2, 3, 4, 5}}, "end 6 of 10 workers"},
		{"what is ending", hour(1), func(i int, x *epu.Worker) { x.Ended = i > 0 }, [][]int{{0, 1, 2}}, ""},
		{"the busy and the protected", hour(1), func(_ int, x *epu.Worker) { x.Protected, x.BusyUntil = true, start.Add(time.Hour) }, [][]int{{0, 1, 2, 3}, {4, 5}}, "p.lua:2: "},
		{"what was used before is no matter", hour(3), func(int, *epu.Worker) {}, [][]int{{0, 1, 2}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			for i := range 10 {
				x := &epu.Worker{ID: epu.NewWorkerID(epu.NewLaunchID("web", 1, 1), i), State: epu.Running, Health: epu.HealthOK, Created: start}
				if c.change != nil {
					c.change(i, x)
				}
				w.add(x)
			}
			w.in.Limits = c.limits
			w.in.Ended, w.in.Lost = reconcile.Used{N: 3, Next: start}, reconcile.Used{N: 3, Next: start}
			w.in.Origin = func(key string) string { return map[string]string{"limits.terminations": "web.yaml:7"}[key] }
			got := reconcile.Overreach(w.in, asks(w, c.calls...))
			if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			drains := asks(w, c.calls...)
			for i := range drains {
				drains[i].Kind = epu.ActDrain
			}
			if got := reconcile.Overreach(w.in, drains); got != "" {
				t.Errorf("drains: got %q, want nothing", got)
			}
		})
	}
}

// Goal: no decision ends more workers at once than a rail allows, whatever is asked for, wished for and used
// up, and what is not refused as a whole is done as far as the rail has room. Method: random pools and
// decisions; the ends and drains of Asked are counted.
func TestAskedKeepsTheRail(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := draw(rt)
		w.in.Freeze, w.in.Synced = reconcile.Thawed, nil
		var acts []epu.Action
		named := map[epu.WorkerID]bool{}
		serving := 0
		for _, x := range w.in.Workers {
			if rapid.Bool().Draw(rt, "works") {
				x.State, x.Health, x.Ended, x.Draining = epu.Running, epu.HealthOK, false, false
			}
			serves := x.Open() && !x.Draining && !x.Unhealthy() && x.State >= epu.Pending
			if serves {
				serving++
			}
			if rapid.Bool().Draw(rt, "ends") {
				acts = append(acts, epu.Action{Kind: epu.ActTerminate, Workers: []epu.WorkerID{x.ID}, At: "p.lua:1"})
				named[x.ID] = serves
			}
		}
		asked := 0
		for _, counts := range named {
			if counts {
				asked++
			}
		}
		most := w.in.Limits.Terminations.N
		if most == 0 {
			most = max(1, len(w.in.Workers)/5)
		}
		if p := w.in.Limits.Loss.Percent; p > 0 {
			most = min(most, max(1, len(w.in.Workers)*p/100))
		}
		if got, want := reconcile.Overreach(w.in, acts) != "", asked > most && asked > serving/2; got != want {
			rt.Fatalf("got refused %v for %d of %d with a rail of %d", got, asked, serving, most)
		}
		deeds := reconcile.Asked(w.in, "d", acts, w.find)
		going := 0
		for _, e := range deeds.Ends {
			if named[e.Worker.ID] {
				going++
			}
		}
		for _, d := range deeds.Drains {
			if named[d.Worker.ID] && !d.Worker.Replacing { // an operator has ordered that one out of service
				going++
			}
		}
		if going > most {
			rt.Fatalf("%d of %d workers in service go, want at most %d", going, asked, most)
		}
	})
}
