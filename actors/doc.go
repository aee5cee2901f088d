// Package actors holds EPU's actors. One that persists is a pure core (Apply, Handle, Due) under the
// durable shell of durable.go; the others are thin shells over pure code in lifecycle, reconcile and
// sensing. No actor blocks: calls run off the mailbox and come back as messages.
//
//	root
//	├── provisioner ── site/<name>         launches and their machines
//	├── controllers ── controller/<pool> ── worker/<slot>
//	├── registry                           applied files, versions of policies, switches
//	└── gateway                            commands, agents, events
//
// Start reading at durable.go, then site.go and controller.go.
package actors
