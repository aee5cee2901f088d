// Package answers turns what actors, records and decisions say into what people are told: the lines of
// status, instances, explain, alerts and the doctor. It asks nobody and keeps nothing; the gateway asks
// the actors, and this is how their views become words.
package answers
