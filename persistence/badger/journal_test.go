package badger_test

import (
	"testing"

	"github.com/nimbus-epu/epu/persistence"
	"github.com/nimbus-epu/epu/persistence/badger"
	"github.com/nimbus-epu/epu/persistence/journaltest"
)

// Goal: the Badger journal keeps the port's promises. Method: the conformance suite.
func TestJournal(t *testing.T) {
	journaltest.Run(t, func(t testing.TB) journaltest.Opener {
		dir := t.TempDir()
		return func(t testing.TB) persistence.Journal { return open(t, dir) }
	})
}

func open(t testing.TB, dir string) *badger.Journal {
	t.Helper()
	j, err := badger.Open(dir, badger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return j
}
