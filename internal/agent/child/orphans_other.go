//go:build unix && !linux

package child

import (
	"context"
	"errors"
	"syscall"
)

// attributes: an own group. Only Linux can also bind the program's life to ours.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit can't see an end and leave the process unreaped here, so what is left of the group stays.
func awaitExit(int) error { return errors.New("not on this system") }

// Adopt does nothing: only Linux gives orphans to a process other than the first.
func (s *Set) Adopt() (release func(), err error) { return func() {}, nil }

// EndOrphans does nothing, because Adopt adopted none.
func (s *Set) EndOrphans(context.Context) error { return nil }
