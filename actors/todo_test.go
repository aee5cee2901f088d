package actors_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu/actors"
)

// todos makes a core due for a list that the test changes.
func todos(list *[]actors.Todo) *counter {
	return &counter{due: func(time.Time) ([]actors.Todo, time.Time) { return *list, time.Time{} }}
}

// Goal: a message that is due goes out at once, again with doubling waits up to the cap, and no more once
// it is not due; a new key begins anew.
func TestTodoRepeats(t *testing.T) {
	list := []actors.Todo{{Key: "a", To: "x", Send: "hello", Every: time.Second, Cap: 4 * time.Second}}
	s, d := activated(t, todos(&list))
	var at []time.Duration
	begin := s.now
	for range 200 {
		for range s.take() {
			at = append(at, s.now.Sub(begin))
		}
		s.wait(100 * time.Millisecond)
	}
	sec := time.Second
	if diff := cmp.Diff([]time.Duration{0, sec, 3 * sec, 7 * sec, 11 * sec, 15 * sec, 19 * sec}, at); diff != "" {
		t.Error(diff)
	}
	list = []actors.Todo{{Key: "b", To: "x", Make: func() any { return "anew" }, Every: time.Second}}
	d.Receive("look", "")
	s.wait(500 * time.Millisecond)
	list = nil
	d.Receive("look", "")
	s.wait(time.Hour)
	if diff := cmp.Diff([]string{"x: anew"}, s.take()); diff != "" {
		t.Error(diff)
	}
}

// Goal: a call is out once at a time; after its result it waits and is made again with the data of then.
func TestTodoCalls(t *testing.T) {
	n := 0
	list := []actors.Todo{{Key: "a", Make: func() any { n++; return fmt.Sprint("call ", n) }, Every: time.Second, Cap: time.Minute}}
	core := todos(&list)
	s, d := activated(t, core)
	for range 3 {
		d.Receive("look", "")
		s.wait(time.Minute)
	}
	if len(s.calls) != 1 || s.calls[0].call != "call 1" {
		t.Fatalf("got the calls %v, want one", s.calls)
	}
	began := s.now.Add(-3 * time.Minute)
	s.calls[0].done(nil, errors.New("no"))
	want := actors.CallResult{Key: "a", Call: "call 1", Err: core.ended[0].Err, Began: began, Attempt: 1}
	if got := core.ended[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.wait(999 * time.Millisecond)
	if len(s.calls) != 1 {
		t.Error("called again too early")
	}
	s.wait(time.Millisecond)
	if len(s.calls) != 2 || s.calls[1].call != "call 2" {
		t.Fatalf("got the calls %v, want the second with new data", s.calls)
	}
	list = nil // what is out ends, and is told, but not made again
	s.calls[1].done("late", nil)
	s.wait(time.Hour)
	if len(core.ended) != 2 || core.ended[1].Result != "late" || len(s.calls) != 2 {
		t.Errorf("got %d results and %d calls, want 2 and 2", len(core.ended), len(s.calls))
	}
}

// Goal: a bound on calls at once starves nobody and loops for nobody. Method: four calls that fail for
// ever share two places; after a while all were tried about as often.
func TestTodoGroups(t *testing.T) {
	var list []actors.Todo
	for _, key := range []string{"a", "b", "c", "d"} {
		list = append(list, actors.Todo{Key: key, Call: key, Every: time.Second, Group: "launch", Max: 2})
	}
	list = append(list, actors.Todo{Key: "other", Call: "other", Every: time.Hour})
	s, _ := activated(t, todos(&list))
	tries := map[any]int{}
	for range 100 {
		if len(s.calls) > 3 {
			t.Fatalf("%d calls are out", len(s.calls))
		}
		calls := s.calls
		s.calls = nil
		s.wait(20 * time.Second) // longer than the backoff: those that failed are due again at once
		for _, c := range calls {
			tries[c.call]++
			c.done(nil, errors.New("timeout"))
		}
		s.wait(time.Second)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		if tries[key] < 45 {
			t.Errorf("%s was tried %d times, the others %v", key, tries[key], tries)
		}
	}
}

// Goal: the core is woken at the time it asked for, once, and also when that time lies in the past.
func TestWake(t *testing.T) {
	var at time.Time
	core := &counter{}
	core.due = func(now time.Time) ([]actors.Todo, time.Time) {
		if core.woken >= 3 {
			return nil, time.Time{}
		}
		return nil, at
	}
	at = time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC)
	s, d := activated(t, core)
	if s.wait(time.Minute - 1); core.woken != 1 { // the activation's own
		t.Fatalf("woken %d times too early", core.woken-1)
	}
	if s.wait(1); core.woken != 3 { // at the minute, and once more since that has passed now
		t.Errorf("woken %d times, want twice", core.woken-1)
	}
	s.wait(time.Hour)
	d.Receive("look", "")
	if s.wait(time.Hour); core.woken != 3 {
		t.Errorf("woken %d times without having asked", core.woken-3)
	}
}
