// Package cron answers when a line of a crontab was and will be due, in any time zone and on the days
// when clocks change. It is pure: what time it is now is for the caller to say.
//
//	"30 2 * * 1-5" --> Parse --> Line --> Next(after, zone), Prev(at, zone)
//
// The zones of the world are part of the program, so that a line means the same on machines without them.
package cron
