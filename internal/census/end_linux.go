package census

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// awaitStep is how often a wait looks whether its context has ended.
const awaitStep = 200 * time.Millisecond

// Await waits until a process, a child or not, has ended. The kernel tells: nothing is asked again.
func Await(ctx context.Context, p Process) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for process %v: %w", p, err)
	}
	defer unix.Close(fd)
	if now, ok := Find(p.PID); !ok || now.Start != p.Start || len(now.Args) == 0 {
		return nil // the number is another's by now, or only its last status is left
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(awaitStep/time.Millisecond))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for process %v: %w", p, err)
		case ctx.Err() != nil:
			return fmt.Errorf("process %v has not ended: %w", p, ctx.Err())
		}
	}
}

// End ends everything of a data folder: it asks the keepers, which end what is theirs, and strays. When
// ctx ends before that is done, it kills whatever is left.
func End(ctx context.Context, data, program string, except ...int) error {
	c, err := Look(data, program, except...)
	if err != nil {
		return err
	}
	for _, i := range c.Instances {
		c.Strays = append(c.Strays, i.Keepers...)
	}
	for _, p := range c.Strays {
		_ = unix.Kill(p.PID, unix.SIGTERM)
	}
	for _, p := range c.Processes() {
		if Await(ctx, p) != nil {
			break
		}
	}
	if c, err = Look(data, program, except...); err != nil {
		return err
	}
	for _, p := range c.Processes() {
		if now, ok := Find(p.PID); ok && now.Start == p.Start {
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
	}
	return nil
}
