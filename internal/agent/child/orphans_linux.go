package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the parent of all orphans among its descendants and reaps them as they end.
// The process should belong to the Set alone, because every child that the Set did not start counts as
// an orphan. The function it gives ends the reaping.
func (s *Set) Adopt() (release func(), err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the parent of orphans: %w", err)
	}
	ended := make(chan os.Signal, 1) // signals coalesce: each makes us look at every child
	signal.Notify(ended, syscall.SIGCHLD)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ended:
				s.reap()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ended)
		close(stop)
		<-stopped
	}, nil
}

func (s *Set) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range s.orphans() {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// EndOrphans kills and reaps every adopted descendant, and those that come to us by that, until none
// is left or the context ends. Reaping must have been released.
func (s *Set) EndOrphans(ctx context.Context) error {
	for {
		s.mu.Lock()
		pids := s.orphans()
		s.mu.Unlock()
		if len(pids) == 0 {
			return nil
		}
		gone := make(chan struct{})
		go func() { // outlives the context only as long as the kernel can't end a process
			for _, pid := range pids {
				_ = unix.Kill(pid, unix.SIGKILL)
				_, _ = unix.Wait4(pid, nil, 0, nil)
			}
			close(gone)
		}()
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("end %d left-over processes: %w", len(pids), ctx.Err())
		}
	}
}

// orphans lists our children that the Set did not start. The caller holds s.mu.
func (s *Set) orphans() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var pids []int
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // that thread has just ended; its children moved to another
		}
		for _, w := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(w); err == nil && !s.own[pid] {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
