//go:build unix && !linux

package child

import "context"

// Adopt does nothing: only Linux gives orphans to a process other than the first.
func (s *Set) Adopt() (release func(), err error) { return func() {}, nil }

// EndOrphans does nothing, because Adopt adopted none.
func (s *Set) EndOrphans(context.Context) error { return nil }
