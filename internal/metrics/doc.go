// Package metrics is what a node tells Prometheus. It has two sources: a snapshot of the installation's
// status, taken when somebody scrapes, and the history's records, counted as they pass.
//
//	gateway ── msg.Status ──▶ collector ─┐
//	node's counters ────────▶ collector ─┼─▶ registry ──▶ /metrics
//	bus ── records ──▶ Run ──▶ counters ─┘
//
// Labels are bounded: pools, sites and words of ours, never instances. The reference in
// docs/reference/metrics.md is generated from the tables here. Start with New in metrics.go.
package metrics
