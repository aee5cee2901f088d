package cron

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones work on machines that have none

	"github.com/robfig/cron/v3"
)

// lineMax is how long a line may be, in bytes.
const lineMax = 200

// daysMax is how far Next and Prev look: the longest gap between two days of a line is eight years, from
// one 29th of February to the next over a year such as 2100.
const daysMax = 9 * 366

// starBit is how the parser marks a field that is a star.
const starBit = 1 << 63

// Line is a line of a crontab: minute, hour, day of the month, month, day of the week. The zero value
// is never due.
type Line struct{ spec cron.SpecSchedule }

// Parse reads a line with five fields. Numbers, names (JAN, MON), lists, ranges and steps are taken;
// Sunday is 0. As in every cron, a day is due when either of the two day fields names it, unless one of
// them is a star.
func Parse(text string) (Line, error) {
	fields := strings.Fields(text)
	switch {
	case len(text) > lineMax:
		return Line{}, fmt.Errorf("a cron line of %d bytes is too long: at most %d", len(text), lineMax)
	case len(fields) != 5 || strings.Contains(text, "="):
		return Line{}, errors.New("a cron line has five fields: minute hour day-of-month month day-of-week, such as 30 8 * * MON-FRI")
	}
	for _, f := range fields {
		if slices.Contains(strings.Split(f, ","), "") {
			return Line{}, fmt.Errorf("the field '%s' has an empty entry", f)
		}
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	schedule, err := parser.Parse(text)
	if err != nil {
		why := err.Error()
		if strings.Contains(fields[4], "7") {
			why += ": Sunday is 0"
		}
		return Line{}, errors.New(why)
	}
	return Line{spec: *schedule.(*cron.SpecSchedule)}, nil
}

// Ever says whether the line is due at all: the 30th of February is a date that no year has.
func (l Line) Ever() bool {
	_, ok := l.Next(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC), time.UTC)
	return ok
}

// Zone finds a time zone of the IANA database by its name; an empty name is UTC. The machine's own zone
// can't be had: what it is differs between machines.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("the machine's own zone is not a zone to rely on")
	}
	return time.LoadLocation(name)
}

// Next is the first time after t at which the line is due; ok is false if there is none in nine years.
func (l Line) Next(t time.Time, zone *time.Location) (next time.Time, ok bool) {
	if at, ok := l.sameDay(t, zone, 1); ok {
		return at, true
	}
	day := dateOf(t.In(zone)).AddDate(0, 0, -1)
	for last := day.AddDate(0, 0, daysMax); !ok && day.Before(last); day = day.AddDate(0, 0, 1) {
		tomorrow := day.AddDate(0, 0, 1)
		if !l.inMonth(tomorrow) && !l.inMonth(day) { // on to the last of the month
			day = time.Date(tomorrow.Year(), tomorrow.Month()+1, -1, 0, 0, 0, 0, time.UTC)
			continue
		}
		// A night whose clocks go back over midnight has times of both days mixed: look at two days.
		for _, at := range slices.Concat(l.times(day, zone), l.times(tomorrow, zone)) {
			if at.After(t) && (!ok || at.Before(next)) {
				next, ok = at, true
			}
		}
	}
	return next, ok
}

// Prev is the last time at or before t at which the line was due; ok is false if there is none in nine
// years.
func (l Line) Prev(t time.Time, zone *time.Location) (prev time.Time, ok bool) {
	if at, ok := l.sameDay(t, zone, -1); ok {
		return at, true
	}
	day := dateOf(t.In(zone)).AddDate(0, 0, 1)
	for last := day.AddDate(0, 0, -daysMax); !ok && day.After(last); day = day.AddDate(0, 0, -1) {
		yesterday := day.AddDate(0, 0, -1)
		if !l.inMonth(yesterday) && !l.inMonth(day) { // back to the first of the month
			day = time.Date(yesterday.Year(), yesterday.Month(), 2, 0, 0, 0, 0, time.UTC)
			continue
		}
		for _, at := range slices.Concat(l.times(day, zone), l.times(yesterday, zone)) {
			if !at.After(t) && (!ok || at.After(prev)) {
				prev, ok = at, true
			}
		}
	}
	return prev, ok
}

// sameDay is the nearest time after t, or for step -1 at or before it, if that is on t's date and no clocks are
// changed around it: a line for every minute has very many times, and the next one is near.
func (l Line) sameDay(t time.Time, zone *time.Location, step int) (at time.Time, ok bool) {
	local := t.In(zone)
	date := dateOf(local)
	if !l.on(date) {
		return time.Time{}, false
	}
	if len(spansOf(date.AddDate(0, 0, -1), zone)) > 1 || len(spansOf(date, zone)) > 1 || len(spansOf(date.AddDate(0, 0, 1), zone)) > 1 {
		return time.Time{}, false
	}
	now := local.Hour()*60 + local.Minute()
	minute := now
	if step > 0 {
		minute++
	}
	for ; minute >= 0 && minute < 24*60; minute += step {
		hour := minute / 60
		switch {
		case l.spec.Hour&(1<<hour) == 0 && step > 0:
			minute = hour*60 + 59
		case l.spec.Hour&(1<<hour) == 0:
			minute = hour * 60
		case l.spec.Minute&(1<<(minute%60)) != 0:
			return local.Add(time.Duration(minute-now)*time.Minute - time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond())), true
		}
	}
	return time.Time{}, false
}

// dateOf is the start of a date as if its zone were UTC: dates are counted without their zone.
func dateOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// times lists when the line is due on a date. A clock time that happens twice, because clocks go back,
// counts once, at its first; one that is skipped counts when the clocks have gone forward. If the hour
// is a star, the line is about the passing of time and not about the clock: it is due whenever the
// clock shows such a minute, twice or never as it may be.
func (l Line) times(date time.Time, zone *time.Location) (out []time.Time) {
	if !l.on(date) {
		return nil
	}
	spans := spansOf(date, zone)
	for hour := range 24 {
		if l.spec.Hour&(1<<hour) == 0 {
			continue
		}
		for minute := range 60 {
			if l.spec.Minute&(1<<minute) != 0 {
				clock := date.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
				out = append(out, l.at(clock, spans, zone)...)
			}
		}
	}
	return out
}

// on reports that the line is due on a date.
func (l Line) on(date time.Time) bool {
	s := l.spec
	if !l.inMonth(date) {
		return false
	}
	named, inWeek := s.Dom&(1<<date.Day()) != 0, s.Dow&(1<<date.Weekday()) != 0
	if s.Dom&starBit != 0 || s.Dow&starBit != 0 {
		return named && inWeek
	}
	return named || inWeek
}

// inMonth reports that a date is in a month of the line.
func (l Line) inMonth(date time.Time) bool { return l.spec.Month&(1<<date.Month()) != 0 }

// span is a stretch of time in which a zone's clocks are not changed.
type span struct {
	from   time.Time // zero = always
	offset time.Duration
}

// spansOf lists the spans of a zone around a date, oldest first; almost always there is one.
func spansOf(date time.Time, zone *time.Location) (out []span) {
	for t, last := date.Add(-26*time.Hour), date.Add(50*time.Hour); !t.After(last); {
		_, offset := t.In(zone).Zone()
		from, until := t.In(zone).ZoneBounds()
		out = append(out, span{from: from, offset: time.Duration(offset) * time.Second})
		if until.IsZero() {
			break
		}
		t = until
	}
	return out
}

// at is when the clocks show a time, given as if the zone were UTC.
func (l Line) at(clock time.Time, spans []span, zone *time.Location) (out []time.Time) {
	if len(spans) == 1 {
		return []time.Time{clock.Add(-spans[0].offset).In(zone)}
	}
	everyHour := l.spec.Hour&starBit != 0
	for i, s := range spans {
		t := clock.Add(-s.offset)
		if i+1 < len(spans) && !t.Before(spans[i+1].from) {
			// After this span, or in the gap between it and the next one.
			if next := spans[i+1]; !everyHour && len(out) == 0 && clock.Add(-next.offset).Before(next.from) {
				return []time.Time{next.from.In(zone)}
			}
			continue
		}
		if i > 0 && t.Before(s.from) {
			continue
		}
		if out = append(out, t.In(zone)); !everyHour {
			return out
		}
	}
	return out
}
