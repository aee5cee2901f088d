// Package sensor fetches the readings of pull sensors: a node asks the source and gets a number, or
// learns why there is none.
//
//	Puller.Pull(ctx, spec) -> sensing.Point: a value with its age, or unknown with the reason
//
// prometheus.go, json.go and command.go hold one source each; sources of AWS are in the package aws, so
// that one package knows Amazon's library. What a reading means is not decided here: that is
// actors/sensing. Nothing is kept between pulls but connections. What can't be read is unknown, never 0.
package sensor
