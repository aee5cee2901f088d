// Package faulty decorates any iaas.Provider with the faults of the network between a caller and its
// cloud. The cloud itself stays as honest as it is; what goes wrong is on the way:
//
//	caller ──▶ request ──▶ cloud ──▶ answer ──▶ caller
//	            │    │                  │
//	       Before  Twice, Late        After
//
// Who decides is the test: it is asked once per call. A Late call is the nastiest: its caller hears
// nothing but UnknownOutcome, and the call takes effect when the test delivers it. A caller that acts
// on "it has surely not happened" is found out.
//
// Start reading at faulty.go.
package faulty
