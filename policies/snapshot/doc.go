// Package snapshot is the JSON form of what a policy sees: a pool's live snapshot with its sensors' series, or the
// record of a decision, together with the policy and its configuration. A node writes the inner part, a console
// reads and saves the whole. It decides nothing; docs/reference/policy-snapshot.md describes the form.
package snapshot
