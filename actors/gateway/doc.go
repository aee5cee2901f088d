// Package gateway brings commands and questions from outside to the actors they concern, and what these
// answer back.
//
//	relay, HTTP ──▶ Gateway ──▶ registry, controllers, sites, workers
//	                   │
//	                   └──────▶ answers: views as words
//
// It keeps nothing: whatever it says was just asked.
package gateway
