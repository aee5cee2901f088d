// Package sensing keeps the readings of a sensor and says what they mean at a moment: the current
// value with its quality, what takes its place while it is missing, and windows over the past.
//
//	Add: a reading with its age -> the next Series
//	Reading, Raw, Window, Recent: a Series and now -> what policies and people see
//	Save, Restore: a Series as JSON and back
//
// A sensor that says nothing is unknown, never 0. The package has no clock, fetches nothing and stores
// nothing: pull adapters are in internal/sensor, and the pool's controller holds the series.
// Start reading at Series.
package sensing
