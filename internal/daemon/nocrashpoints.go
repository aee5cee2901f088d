//go:build !crashpoints

package daemon

import (
	"log/slog"

	"github.com/nimbus-epu/epu/persistence"
)

// withCrashPoints leaves the journal as it is: only binaries of the end-to-end tests can be told to die
// (build tag crashpoints).
func withCrashPoints(j persistence.Journal, _ func(string) string, _ *slog.Logger) (persistence.Journal, error) {
	return j, nil
}
