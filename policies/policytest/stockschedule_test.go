package policytest_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/scripts"
)

// plain is a line of a schedule without cron's language: the minutes of its day, in its zone.
type plain struct {
	cron  string
	zone  string
	fires func(time.Time) bool
	last  time.Duration // 0 = until another line fires
	count int
}

var plains = []plain{
	{cron: "*/20 * * * *", zone: "UTC", fires: func(t time.Time) bool { return t.Minute()%20 == 0 }},
	{cron: "30 7,8 * * MON-FRI", zone: "Europe/Berlin", fires: func(t time.Time) bool {
		return t.Minute() == 30 && (t.Hour() == 7 || t.Hour() == 8) && t.Weekday() >= time.Monday && t.Weekday() <= time.Friday
	}},
	{cron: "15 * * * SUN", zone: "America/New_York", fires: func(t time.Time) bool {
		return t.Minute() == 15 && t.Weekday() == time.Sunday
	}},
	{cron: "30 2 * * *", zone: "Europe/Berlin", fires: func(t time.Time) bool {
		again := t.Add(-time.Hour).Hour() == t.Hour()
		forward := t.Hour() == 3 && t.Minute() == 0 && t.Add(-time.Minute).Hour() == 1 // there is no half past two
		return forward || t.Hour() == 2 && t.Minute() == 30 && !again
	}},
	{cron: "0 22 * * *", zone: "Asia/Kolkata", fires: func(t time.Time) bool { return t.Minute() == 0 && t.Hour() == 22 }},
}

// Goal: at every minute a schedule wants exactly what its lines say, or the most that they will say within
// the time ahead, over both changes of clocks, and moves at no other time. Method: it is compared with a dumb one that looks back minute by minute.
func TestScheduleAgreesWithEveryMinute(t *testing.T) {
	p, err := policies.NewLibrary(scripts.Policies()).Load("schedule")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("schedule", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			start := rapid.SampledFrom([]time.Time{
				time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC),
				time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 4, 0, 0, 0, time.UTC), time.Date(2026, 6, 5, 6, 0, 0, 0, time.UTC),
			}).Draw(t, "start")
			rest := rapid.IntRange(0, 9).Draw(t, "default")
			lines := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 4}), 1, 3).Draw(t, "lines")
			var given []any
			var list []plain
			for _, i := range lines {
				one := plains[i]
				one.count = rapid.IntRange(0, 9).Draw(t, "count")
				one.last = time.Duration(rapid.SampledFrom([]int{0, 7, 90, 600}).Draw(t, "for")) * time.Minute
				line := map[string]any{"cron": one.cron, "zone": one.zone, "count": one.count}
				if one.last > 0 {
					line["for"] = one.last.String()
				}
				list, given = append(list, one), append(given, line)
			}
			ahead := rapid.SampledFrom([]int{0, 10, 45}).Draw(t, "ahead")
			conf, problems := p.Check(map[string]any{"lines": given, "default": rest, "ahead": (time.Duration(ahead) * time.Minute).String()})
			if problems != nil {
				t.Fatal(problems)
			}
			const span = 4 * 60
			dumb := minutes(list, rest, start, span+ahead)
			w := newWorld(p, conf, time.Second)
			w.now = start
			for i := range span {
				want := slices.Max(dumb[i : i+ahead+1])
				if d := w.decide(t); d.Wanted.Target != want {
					t.Fatalf("%v: got target %d, want %d\nlines %v, default %d, ahead %d minutes\nreasons %v", w.now, d.Wanted.Target, want, given, rest, ahead, d.Reasons)
				}
				if w.seq > 10_000 {
					t.Fatalf("got %d launches after %d minutes", w.seq, i)
				}
				w.pass(time.Minute)
			}
		})
	})
}

// minutes is what the lines want in so many minutes from the start on.
func minutes(list []plain, rest int, start time.Time, n int) (want []int) {
	const before = 8 * 24 * 60 // no line waits longer for its turn
	fired := make([]time.Time, len(list))
	zones := make([]*time.Location, len(list))
	for i, one := range list {
		zones[i], _ = time.LoadLocation(one.zone)
	}
	for m := -before; m < n; m++ {
		now := start.Add(time.Duration(m) * time.Minute)
		count, latest := rest, time.Time{}
		for i, one := range list {
			if one.fires(now.In(zones[i])) {
				fired[i] = now
			}
			over := fired[i].IsZero() || one.last > 0 && now.Sub(fired[i]) >= one.last
			if !over && !fired[i].Before(latest) {
				count, latest = one.count, fired[i]
			}
		}
		if m >= 0 {
			want = append(want, count)
		}
	}
	return want
}
