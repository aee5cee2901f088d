// Package e2e is the end-to-end suite: the real programs, real processes and real signals. What it tells
// of the machine comes from outside (internal/census), what it tells of the journal from epumgmt.
//
// Its heart is crash_linux_test.go and elastic_linux_test.go, which kill the daemon before and after the
// appends of stories of a pool: its growth and end, orders about workers, hooks, readings, actions of a
// policy, versions of one, its removal. make test-system takes a sample of those moments; with EPU_CAMPAIGN set it takes all.
package e2e
