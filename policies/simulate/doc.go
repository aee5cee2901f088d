// Package simulate runs policies on virtual time: the real engine, the real guard rails and the real
// reconciliation, over workers, a queue and a clock that are only modelled. A day takes a moment, and one
// seed and one workload give the same run every time.
//
//	Workload --> queue --> readings --> Pool.Decide --> wish --> Pool.Settle --> workers --> queue
//	                                    (policies)               (reconcile)
//
// What is real: everything between a reading and a launch or an end. What is modelled: how long a worker
// takes to boot, that it works on one job at a time, and that a cloud gives what it is asked for. It knows
// no store, no messages and no cloud, so it says nothing about them; campaigns over the actors do.
//
// Start reading at pool.go (a controller's pool without its surroundings), then run.go (one simulation).
package simulate
