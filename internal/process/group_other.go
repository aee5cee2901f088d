//go:build unix && !linux

package process

import (
	"errors"
	"syscall"
)

// bound can't bind the program's life to ours here.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit can't see an end and leave the process unreaped here, so what is left of the group stays.
func awaitExit(int) error { return errors.New("not on this system") }
