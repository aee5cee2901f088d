package sensing_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"pgregory.net/rapid"
)

// Goal: the series means what a dumb model of it means: all readings ever, sorted at each question, and
// windows looked at second by second.
// Method: random readings, out of order and doubled, from several sources, under every rule for missing
// data; all times are whole seconds, so a second has one state.

type dumb struct {
	spec   epu.SensorSpec
	opened time.Time
	all    map[int64]dumbPoint // by unix second
	warm   map[string]int64
	down   map[string]bool
}

type dumbPoint struct {
	at               int64
	value            float64
	unknown, warming bool
}

func (d *dumb) add(p sensing.Point, now int64) {
	age := max(0, int64(p.Age/time.Second))
	if time.Duration(age)*time.Second > d.keep() {
		return
	}
	at := now - age
	newest := true
	for other := range d.all {
		newest = newest && at >= other
	}
	if newest {
		warm, known := d.warm[p.Source]
		if !known || d.down[p.Source] && !p.Unknown {
			warm = at + int64(d.spec.WarmUp/time.Second)
		}
		d.warm[p.Source], d.down[p.Source] = warm, p.Unknown
	}
	warming := false
	if warm, known := d.warm[p.Source]; known && !p.Unknown {
		warming = at < warm && at >= warm-int64(d.spec.WarmUp/time.Second)
	}
	d.all[at] = dumbPoint{at: at, value: p.Value, unknown: p.Unknown, warming: warming}
}

func (d *dumb) keep() time.Duration {
	keep := max(d.spec.Keep, d.spec.StaleAfter, d.spec.MaxAge)
	if d.spec.Missing == epu.MissingLast {
		keep += max(d.spec.StaleAfter, d.spec.MaxAge)
	}
	return keep
}

// before is the newest reading at or before a moment that passes a test.
func (d *dumb) before(at float64, ok func(dumbPoint) bool) (dumbPoint, bool) {
	best, found := dumbPoint{}, false
	for _, p := range d.all {
		if float64(p.at) <= at && ok(p) && (!found || p.at > best.at) {
			best, found = p, true
		}
	}
	return best, found
}

func anyPoint(dumbPoint) bool    { return true }
func withValue(p dumbPoint) bool { return !p.unknown }

func (d *dumb) reading(now int64) (epu.Quality, float64) {
	newest, some := d.before(float64(now), anyPoint)
	good, hasGood := d.before(float64(now), withValue)
	age := time.Duration(now-good.at) * time.Second
	quality := epu.QualityOK
	switch {
	case !some || newest.unknown:
		quality = epu.QualityUnknown
	case age > d.spec.StaleAfter:
		quality = epu.QualityStale
	case good.warming:
		quality = epu.QualityWarming
	}
	if quality == epu.QualityOK || quality == epu.QualityWarming {
		return quality, good.value
	}
	heard := d.opened.Unix()
	if hasGood {
		heard = max(heard, good.at)
	}
	switch {
	case d.spec.Missing == epu.MissingLast && hasGood && age <= d.spec.MaxAge && good.warming:
		return epu.QualityWarming, good.value
	case d.spec.Missing == epu.MissingLast && hasGood && age <= d.spec.MaxAge:
		return epu.QualityOK, good.value
	case d.spec.Missing == epu.MissingFallback && time.Duration(now-heard)*time.Second > d.spec.StaleAfter:
		return epu.QualityOK, d.spec.Value
	}
	return quality, good.value
}

// state is what holds at a moment: a value, "uncovered", or "unknown".
func (d *dumb) state(at float64) (value float64, quality epu.Quality, covered bool) {
	p, some := d.before(at, anyPoint)
	if !some {
		return 0, epu.QualityOK, false
	}
	holds := d.spec.StaleAfter
	if d.spec.Missing == epu.MissingLast {
		holds = max(holds, d.spec.MaxAge)
		good, hasGood := d.before(at, withValue)
		if p.unknown && (!hasGood || at-float64(good.at) > holds.Seconds()) {
			return 0, epu.QualityUnknown, false
		}
		p = good
	}
	switch {
	case p.unknown:
		return 0, epu.QualityUnknown, false
	case at-float64(p.at) > holds.Seconds():
		return 0, epu.QualityStale, false
	case p.warming:
		return p.value, epu.QualityWarming, true
	}
	return p.value, epu.QualityOK, true
}

func (d *dumb) window(now int64, span time.Duration) (epu.Window, bool) {
	w := epu.Window{Sensor: "queue", Span: span, Quality: epu.QualityOK, Min: math.Inf(1), Max: math.Inf(-1)}
	start := now - int64(span/time.Second)
	area, some := 0.0, false
	see := func(v float64) {
		some, w.Min, w.Max, w.Last = true, min(w.Min, v), max(w.Max, v), v
	}
	var at, values []float64
	for second := start; second <= now; second++ {
		moment := float64(second) + 0.5
		if second == now {
			moment = float64(now)
		}
		v, q, covered := d.state(moment)
		if q == epu.QualityUnknown {
			return w, false
		}
		p, exact := d.all[second]
		exact = exact && !p.unknown && second > start
		if second < now || exact {
			w.Quality = worst(w.Quality, q)
		}
		if exact {
			w.Count++
			at, values = append(at, float64(second)), append(values, p.value)
		}
		if covered && (second < now || exact) {
			see(v)
		}
		if covered && second < now {
			area += v
			w.Covers += time.Second
		}
	}
	if !some {
		return w, false
	}
	w.Mean = w.Last
	if w.Covers > 0 {
		w.Mean = area / w.Covers.Seconds()
	}
	w.Slope = slope(at, values)
	return w, true
}

func worst(a, b epu.Quality) epu.Quality {
	order := []epu.Quality{epu.QualityOK, epu.QualityWarming, epu.QualityStale, epu.QualityUnknown}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// slope is the textbook's formula.
func slope(at, values []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range at {
		x, y := at[i]-at[0], values[i]
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; n >= 2 && d != 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*(1+math.Abs(a)+math.Abs(b)) }

func seconds(from, to int) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(from, to), func(n int) time.Duration { return time.Duration(n) * time.Second })
}

func anySpec() *rapid.Generator[epu.SensorSpec] {
	return rapid.Custom(func(t *rapid.T) epu.SensorSpec {
		return epu.SensorSpec{
			StaleAfter: seconds(1, 60).Draw(t, "stale after"),
			Missing:    rapid.SampledFrom([]epu.MissingData{epu.MissingHold, epu.MissingLast, epu.MissingFallback}).Draw(t, "missing"),
			MaxAge:     seconds(0, 90).Draw(t, "max age"),
			Value:      -1,
			WarmUp:     seconds(0, 30).Draw(t, "warm-up"),
			Keep:       seconds(60, 300).Draw(t, "keep"),
		}
	})
}

func anyPointIn() *rapid.Generator[sensing.Point] {
	return rapid.Custom(func(t *rapid.T) sensing.Point {
		return sensing.Point{
			Value:   float64(rapid.IntRange(0, 1000).Draw(t, "value")),
			Unknown: rapid.IntRange(0, 5).Draw(t, "unknown") == 0,
			Age:     seconds(-5, 40).Draw(t, "age"),
			Source:  rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "source"),
		}
	})
}

func TestASeriesMeansWhatTheModelMeans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		spec := anySpec().Draw(t, "spec")
		s := sensing.New("queue", spec, now)
		d := &dumb{spec: spec, opened: now, all: map[int64]dumbPoint{}, warm: map[string]int64{}, down: map[string]bool{}}
		for range rapid.IntRange(0, 60).Draw(t, "readings") {
			now = now.Add(seconds(0, 25).Draw(t, "later"))
			p := anyPointIn().Draw(t, "point")
			if p.Unknown {
				p.Value = 0
			}
			next, _, err := s.Add(p, now)
			if err != nil {
				t.Fatal(err)
			}
			d.add(p, now.Unix())
			s = next

			asked := now.Add(seconds(0, 70).Draw(t, "asked"))
			got := s.Reading(asked)
			quality, value := d.reading(asked.Unix())
			if got.Quality != quality || quality != epu.QualityUnknown && got.Value != value {
				t.Fatalf("reading %v after %v: got %+v, want %v %v", asked.Sub(now), p, got, quality, value)
			}
			span := seconds(1, 60).Draw(t, "span")
			w, ok := s.Window(asked, span)
			want, wantOK := d.window(asked.Unix(), span)
			if ok != wantOK {
				t.Fatalf("window of %v: got %+v %v, want %+v %v", span, w, ok, want, wantOK)
			}
			if !ok {
				continue
			}
			mean, slope := near(w.Mean, want.Mean), near(w.Slope, want.Slope)
			w.Mean, w.Slope, want.Mean, want.Slope = 0, 0, 0, 0
			if w != want || !mean || !slope {
				t.Fatalf("window of %v: got %+v, want %+v (mean fits: %v, slope fits: %v)", span, w, want, mean, slope)
			}
		}
	})
}
