package engine

import (
	"errors"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/policies"
)

// failureKept is how long a failure is taken as known while the sources look the same. They are most of what a
// policy depends on, but not all: it may require a file whose name it computes.
const failureKept = time.Minute

// loads are the policies that are being loaded, and those that could not be: to load one runs its file, which
// takes up to two seconds if it loops, and every pool that wants it asks at each tick.
type loads struct {
	running map[string]*loading
	failed  map[string]failure
}

// loading is a policy that is being loaded for all who want it.
type loading struct {
	done   chan struct{} // closed when what follows is there
	policy *policies.Policy
	err    error
}

// failure is why a policy could not be loaded from sources of a stamp.
type failure struct {
	stamp string
	err   error
	at    time.Time
}

// once loads a policy for all who want it at the same time, and not again while what failed has the same stamp.
func (s *Shelf) once(key string, stamp func() string, load func() (*policies.Policy, error)) (*policies.Policy, error) {
	s.mu.Lock()
	if l := s.loads.running[key]; l != nil {
		s.mu.Unlock()
		<-l.done
		return l.policy, l.err
	}
	l := &loading{done: make(chan struct{})}
	s.loads.running[key] = l
	last, failed := s.loads.failed[key]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.loads.running, key)
		close(l.done)
	}()
	now, mark := s.opts.Now(), stamp() // files that change while they are loaded look different at the next load
	if failed && now.Sub(last.at) < failureKept && last.stamp == mark {
		l.err = last.err
		return nil, l.err
	}
	l.err = epu.E(epu.Internal, "load policy", key, errors.New("it was not loaded to the end")) // for who waits, should this panic
	l.policy, l.err = load()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.loads.failed, key)
	if l.err == nil {
		return l.policy, nil
	}
	if len(s.loads.failed) >= compiledMax {
		clear(s.loads.failed)
	}
	s.loads.failed[key] = failure{stamp: mark, err: l.err, at: now}
	return nil, l.err
}
