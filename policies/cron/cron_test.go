package cron_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/policies/cron"
)

const form = "2006-01-02 15:04 -0700"

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(form, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Goal: lines are due when people expect it, also on the two days on which clocks change. Method: the
// due times that follow a moment, one after the other; Prev must find each of them again.
func TestNextAndPrev(t *testing.T) {
	for _, c := range []struct {
		name, line, zone, after string
		want                    []string
	}{
		{"every day", "30 8 * * *", "", "2026-03-01 08:30 +0000", []string{"2026-03-02 08:30 +0000", "2026-03-03 08:30 +0000"}},
		{"working days", "0 8 * * MON-FRI", "", "2026-03-06 12:00 +0000", []string{"2026-03-09 08:00 +0000", "2026-03-10 08:00 +0000"}},
		{"quarters", "*/15 * * * *", "", "2026-03-01 08:31 +0000", []string{"2026-03-01 08:45 +0000", "2026-03-01 09:00 +0000"}},
		{"either day field", "0 0 13 * 5", "", "2026-02-01 00:00 +0000", []string{"2026-02-06 00:00 +0000", "2026-02-13 00:00 +0000", "2026-02-20 00:00 +0000"}},
		{"leap day over 2100", "0 0 29 2 *", "", "2096-03-01 00:00 +0000", []string{"2104-02-29 00:00 +0000"}},
		{"never", "0 0 30 2 *", "", "2026-03-01 00:00 +0000", nil},
		{"half an hour's zone", "0 6 * * *", "Asia/Kolkata", "2026-03-01 00:00 +0000", []string{"2026-03-01 00:30 +0000", "2026-03-02 00:30 +0000"}},
		{"the clock, over spring", "0 8 * * *", "Europe/Berlin", "2026-03-28 12:00 +0000", []string{"2026-03-29 08:00 +0200", "2026-03-30 08:00 +0200"}},
		{"a skipped time is due at the change", "30 2 * * *", "Europe/Berlin", "2026-03-28 03:00 +0000", []string{"2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"}},
		{"skipped and next time are one", "0 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00 +0000", []string{"2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"}},
		{"every hour in spring", "30 * * * *", "Europe/Berlin", "2026-03-29 00:00 +0000", []string{"2026-03-29 01:30 +0100", "2026-03-29 03:30 +0200"}},
		{"a doubled time is due once", "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00 +0000", []string{"2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"}},
		{"every hour in autumn", "30 * * * *", "Europe/Berlin", "2026-10-24 23:40 +0000", []string{"2026-10-25 02:30 +0200", "2026-10-25 02:30 +0100", "2026-10-25 03:30 +0100"}},
		{"New York's spring", "15 2 * * *", "America/New_York", "2026-03-07 12:00 +0000", []string{"2026-03-08 03:00 -0400", "2026-03-09 02:15 -0400"}},
		{"New York's autumn", "15 1 * * *", "America/New_York", "2026-10-31 12:00 +0000", []string{"2026-11-01 01:15 -0400", "2026-11-02 01:15 -0500"}},
		{"midnight is skipped", "0 0 * * *", "America/Sao_Paulo", "2018-11-03 12:00 +0000", []string{"2018-11-04 01:00 -0200", "2018-11-05 00:00 -0200"}},
		{"half an hour's change", "15 2 * * *", "Australia/Lord_Howe", "2026-10-02 20:00 +0000", []string{"2026-10-04 02:30 +1100", "2026-10-05 02:15 +1100"}},
		{"a day that never was", "0 12 30 12 *", "Pacific/Apia", "2011-12-29 00:00 -1000", []string{"2011-12-31 00:00 +1400", "2012-12-30 12:00 +1400"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, zone := parse(t, c.line, c.zone)
			now := at(t, c.after)
			if len(c.want) == 0 {
				if next, ok := line.Next(now, zone); ok {
					t.Errorf("got %s, want never", next.Format(form))
				}
				if prev, ok := line.Prev(now, zone); ok {
					t.Errorf("got %s, want never before", prev.Format(form))
				}
			}
			for i, w := range c.want {
				want := at(t, w)
				next, ok := line.Next(now, zone)
				if !ok || !next.Equal(want) {
					t.Fatalf("got %s (%v) after %s, want %s", next.Format(form), ok, now.Format(form), w)
				}
				if prev, ok := line.Prev(next, zone); !ok || !prev.Equal(next) {
					t.Errorf("got %s (%v) at %s itself", prev.Format(form), ok, w)
				}
				if prev, ok := line.Prev(next.Add(-time.Second), zone); i > 0 && (!ok || !prev.Equal(now)) {
					t.Errorf("got %s (%v) before %s, want %s", prev.Format(form), ok, w, now.Format(form))
				}
				now = next
			}
		})
	}
}

// fataler is a test, or rapid's.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func parse(t fataler, text, name string) (cron.Line, *time.Location) {
	t.Helper()
	line, err := cron.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := cron.Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return line, zone
}

// Goal: nothing but lines is taken, and nothing makes the parser fail otherwise.
func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "five fields", "* * * *": "five fields", "* * * * * *": "five fields", "@daily": "five fields", "TZ=0": "five fields",
		"TZ=Europe/Berlin 1 1 1 1": "five fields", "60 * * * *": "above maximum", "* * * * 7": "Sunday is 0", "*/0 * * * *": "step",
		"1,,2 * * * *": "empty entry", ", * * * *": "empty entry", "9-5 * * * *": "beyond end", "x * * * *": "parse",
		strings.Repeat("1,", 120) + "1 * * * *": "too long",
	} {
		if _, err := cron.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for _, name := range []string{"Local", "Mars/Olympus", "../etc/passwd"} {
		if zone, err := cron.Zone(name); err == nil {
			t.Errorf("got zone %v, want %q to be refused", zone, name)
		}
	}
}

// Goal: Next and Prev agree with looking at every minute. Method: any simple line in zones with all
// kinds of changes, near a change, against a model that asks each minute in turn; lines whose hour is a
// star, for which the clock alone decides.
func TestAgreesWithEveryMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := fmt.Sprintf("%s * %s * %s", rapid.SampledFrom([]string{"*", "*/7", "0", "30,45", "59"}).Draw(t, "minute"),
			rapid.SampledFrom([]string{"*", "*/2", "1-15"}).Draw(t, "day"), rapid.SampledFrom([]string{"*", "SUN", "1-5"}).Draw(t, "weekday"))
		line, err := cron.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		zone, err := cron.Zone(rapid.SampledFrom([]string{
			"", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut", "America/Scoresbysund",
		}).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		start := rapid.SampledFrom([]time.Time{
			time.Date(2018, 2, 17, 0, 0, 0, 0, time.UTC), time.Date(2018, 11, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC),
		}).Draw(t, "near").Add(time.Duration(rapid.IntRange(0, 3*24*60).Draw(t, "minutes")) * time.Minute)
		now := start.Add(time.Duration(rapid.IntRange(0, 59).Draw(t, "seconds")) * time.Second)

		star := func(field string) bool { return field == "*" }
		fields := strings.Fields(text)
		due := func(m time.Time) bool {
			m = m.In(zone)
			minute := map[string]bool{"*": true, "*/7": m.Minute()%7 == 0, "0": m.Minute() == 0, "30,45": m.Minute() == 30 || m.Minute() == 45, "59": m.Minute() == 59}[fields[0]]
			day := map[string]bool{"*": true, "*/2": m.Day()%2 == 1, "1-15": m.Day() <= 15}[fields[2]]
			week := map[string]bool{"*": true, "SUN": m.Weekday() == 0, "1-5": m.Weekday() >= 1 && m.Weekday() <= 5}[fields[4]]
			if star(fields[2]) || star(fields[4]) {
				return minute && day && week
			}
			return minute && (day || week)
		}
		next, ok := line.Next(now, zone)
		for m := start.Add(time.Minute); ; m = m.Add(time.Minute) {
			if due(m) {
				if !ok || !next.Equal(m) {
					t.Fatalf("%s: got %v (%v) after %v, want %v", text, next, ok, now.In(zone), m.In(zone))
				}
				break
			}
		}
		prev, ok := line.Prev(now, zone)
		for m := start; ; m = m.Add(-time.Minute) {
			if due(m) {
				if !ok || !prev.Equal(m) {
					t.Fatalf("%s: got %v (%v) at %v, want %v", text, prev, ok, now.In(zone), m.In(zone))
				}
				break
			}
		}
	})
}

// Goal: lines with hours agree with looking at every minute too, where no clocks are changed. Method: any such line in
// June, in zones with odd offsets.
func TestHoursAgreeWithEveryMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minute, hour := rapid.IntRange(0, 59).Draw(t, "minute"), rapid.SampledFrom([]int{0, 1, 12, 22, 23}).Draw(t, "hour")
		line, zone := parse(t, fmt.Sprintf("%d,%d %d-23 * * *", minute, (minute+17)%60, hour), rapid.SampledFrom([]string{
			"", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Marquesas", "Europe/Berlin",
		}).Draw(t, "zone"))
		now := time.Date(2026, 6, 14, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 2*24*3600).Draw(t, "seconds")) * time.Second)
		due := func(m time.Time) bool {
			m = m.In(zone)
			return m.Hour() >= hour && (m.Minute() == minute || m.Minute() == (minute+17)%60)
		}
		after, before := now.Truncate(time.Minute).Add(time.Minute), now.Truncate(time.Minute)
		for !due(after) {
			after = after.Add(time.Minute)
		}
		for !due(before) {
			before = before.Add(-time.Minute)
		}
		if next, ok := line.Next(now, zone); !ok || !next.Equal(after) {
			t.Fatalf("after %v: got %v, %v, want %v", now.In(zone), next, ok, after.In(zone))
		}
		if prev, ok := line.Prev(now, zone); !ok || !prev.Equal(before) {
			t.Fatalf("at %v: got %v, %v, want %v", now.In(zone), prev, ok, before.In(zone))
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* * * * *", "30 8 * * MON-FRI", "*/15 0-6,20-23 1,15 JAN-MAR 0", "? ? ? ? ?", "1-5/2 * * * *", "0/9 1 1 1 1"} {
		f.Add(s, int64(1_770_000_000))
	}
	zone, err := cron.Zone("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		line, err := cron.Parse(text)
		if err != nil {
			return
		}
		now := time.Unix(unix%(1<<36), 0)
		next, ok := line.Next(now, zone)
		if ok && !next.After(now) {
			t.Fatalf("%s: got %v after %v", text, next, now)
		}
		if prev, found := line.Prev(next, zone); ok && (!found || !prev.Equal(next)) {
			t.Fatalf("%s: got %v at %v", text, prev, next)
		}
	})
}

// Goal: a line that is never due is told from one that is rare.
func TestEver(t *testing.T) {
	for text, want := range map[string]bool{
		"0 0 30 2 *": false, "0 0 31 4,6,9,11 *": false, "0 0 29 2 *": true, "0 0 30 2 MON": true, "* * * * *": true, "0 0 31 2,3 *": true,
	} {
		line, err := cron.Parse(text)
		if err != nil || line.Ever() != want {
			t.Errorf("%s: got %v, %v; want %v", text, line.Ever(), err, want)
		}
	}
	if (cron.Line{}).Ever() {
		t.Error("the zero value is due")
	}
}
