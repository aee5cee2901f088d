package sensing_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
	"pgregory.net/rapid"
)

// Goal: the promises of a series that a reader relies on, one by one.
// Method: short stories with fixed times.

var noon = time.Unix(1_800_000_000, 0)

func spec(change ...func(*epu.SensorSpec)) epu.SensorSpec {
	s := epu.SensorSpec{StaleAfter: 45 * time.Second, Missing: epu.MissingHold, Keep: time.Hour}
	for _, f := range change {
		f(&s)
	}
	return s
}

// failer is what tests and properties have in common.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func add(t failer, s sensing.Series, p sensing.Point, now time.Time) sensing.Series {
	t.Helper()
	next, _, err := s.Add(p, now)
	if err != nil {
		t.Fatalf("add %+v: %v", p, err)
	}
	return next
}

func TestNothingYetIsUnknownAndNeverZero(t *testing.T) {
	s := sensing.New("queue", spec(), noon)
	if r := s.Reading(noon.Add(time.Second)); r.Quality != epu.QualityUnknown {
		t.Errorf("got %+v, want unknown", r)
	}
	if w, ok := s.Window(noon, time.Minute); ok {
		t.Errorf("got window %+v of nothing", w)
	}
}

func TestUnknownShowsTheLastValueAndSaysWhy(t *testing.T) {
	s := add(t, sensing.New("queue", spec(), noon), sensing.Point{Value: 7}, noon)
	s = add(t, s, sensing.Point{Unknown: true, Fault: "connection refused"}, noon.Add(10*time.Second))
	r := s.Reading(noon.Add(12 * time.Second))
	want := epu.Reading{Sensor: "queue", Value: 7, Time: noon, Age: 12 * time.Second, Quality: epu.QualityUnknown}
	if diff := cmp.Diff(want, r); diff != "" || s.Fault() != "connection refused" {
		t.Errorf("fault %q, reading (-want +got):\n%s", s.Fault(), diff)
	}
	if s = add(t, s, sensing.Point{Value: 8}, noon.Add(20*time.Second)); s.Fault() != "" {
		t.Errorf("got fault %q after a value", s.Fault())
	}
}

func TestRefusedAndNoted(t *testing.T) {
	for _, c := range []struct {
		name string
		p    sensing.Point
		note string
		bad  bool
		n    int
	}{
		{"nan", sensing.Point{Value: math.NaN()}, "", true, 0},
		{"infinite", sensing.Point{Value: math.Inf(-1)}, "", true, 0},
		{"future", sensing.Point{Value: 1, Age: -time.Second}, "from the future by 1s", false, 1},
		{"ancient", sensing.Point{Value: 1, Age: math.MaxInt64}, "", true, 0},
		{"plain", sensing.Point{Value: 1, Age: time.Second}, "", false, 1},
	} {
		s, note, err := sensing.New("queue", spec(), noon).Add(c.p, noon)
		if (err != nil) != c.bad || !strings.Contains(note, c.note) || (c.note == "") != (note == "") || s.Len() != c.n {
			t.Errorf("%s: got %d readings, note %q, error %v", c.name, s.Len(), note, err)
		}
		if c.bad && epu.KindOf(err) != epu.Invalid {
			t.Errorf("%s: got kind %v, want invalid", c.name, epu.KindOf(err))
		}
		if r := s.Raw(noon); r.Age < 0 {
			t.Errorf("%s: got age %v", c.name, r.Age)
		}
	}
}

func TestAFallbackWaitsUntilTheSourceHadItsTime(t *testing.T) {
	s := sensing.New("queue", spec(func(s *epu.SensorSpec) { s.Missing, s.Value = epu.MissingFallback, 3 }), noon)
	if r := s.Reading(noon.Add(45 * time.Second)); r.Quality != epu.QualityUnknown {
		t.Errorf("just opened: got %+v, want unknown", r)
	}
	if r := s.Reading(noon.Add(46 * time.Second)); r.Quality != epu.QualityOK || r.Value != 3 || r.StandIn != epu.MissingFallback {
		t.Errorf("long silent: got %+v, want 3 as a fallback", r)
	}
	s = add(t, s, sensing.Point{Value: 9}, noon.Add(time.Minute))
	s = add(t, s, sensing.Point{Unknown: true}, noon.Add(70*time.Second))
	if r := s.Reading(noon.Add(71 * time.Second)); r.Quality != epu.QualityUnknown {
		t.Errorf("one bad reading: got %+v, want unknown", r)
	}
	saved := sensing.Restore("queue", spec(func(s *epu.SensorSpec) { s.Missing = epu.MissingFallback }), s.Save(-1), noon.Add(time.Hour))
	if r := saved.Reading(noon.Add(time.Hour + time.Second)); r.Quality != epu.QualityUnknown {
		t.Errorf("after a restart: got %+v, want unknown until the source had its time", r)
	}
}

func TestWarmUpBeginsWithANewNameAndAfterAFailure(t *testing.T) {
	s := sensing.New("queue", spec(func(s *epu.SensorSpec) { s.WarmUp = time.Minute }), noon)
	now := noon
	for i, step := range []struct {
		later time.Duration
		p     sensing.Point
		want  epu.Quality
	}{
		{0, sensing.Point{Source: "a"}, epu.QualityWarming},
		{59 * time.Second, sensing.Point{Source: "a"}, epu.QualityWarming},
		{time.Second, sensing.Point{Source: "a"}, epu.QualityOK},
		{time.Second, sensing.Point{Source: "b"}, epu.QualityWarming},
		{time.Second, sensing.Point{Source: "a"}, epu.QualityOK},
		{time.Second, sensing.Point{Source: "a", Unknown: true}, epu.QualityUnknown},
		{time.Second, sensing.Point{Source: "a"}, epu.QualityWarming},
		{time.Minute, sensing.Point{Source: "a"}, epu.QualityOK},
	} {
		now = now.Add(step.later)
		s = add(t, s, step.p, now)
		if got := s.Reading(now).Quality; got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
	for i := range 100 { // names come and go: nothing grows without bound
		s = add(t, s, sensing.Point{Source: fmt.Sprint(i)}, now.Add(time.Duration(i)*time.Second))
	}
	if n := len(s.Save(-1).Sources); n != 8 {
		t.Errorf("got %d names, want 8", n)
	}
}

func TestAnOldReadingTakesItsPlaceButIsNotCurrent(t *testing.T) {
	s := add(t, sensing.New("queue", spec(), noon), sensing.Point{Value: 10}, noon.Add(30*time.Second))
	s = add(t, s, sensing.Point{Value: 100, Age: 30 * time.Second}, noon.Add(40*time.Second))
	now := noon.Add(50 * time.Second)
	if r := s.Reading(now); r.Value != 10 {
		t.Errorf("got %+v, want 10", r)
	}
	// 100 from 10 s to 30 s, 10 from 30 s to 50 s.
	if w, ok := s.Window(now, time.Minute); !ok || w.Mean != 55 || w.Max != 100 || w.Last != 10 || w.Count != 2 || w.Covers != 40*time.Second {
		t.Errorf("got %+v %v", w, ok)
	}
}

func TestReadersKeepWhatTheyHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sensing.New("queue", anySpec().Draw(t, "spec"), noon)
		now := noon
		var kept []sensing.Series
		var want []string
		for range rapid.IntRange(1, 40).Draw(t, "readings") {
			now = now.Add(seconds(0, 25).Draw(t, "later"))
			from := s
			if len(kept) > 0 && rapid.IntRange(0, 9).Draw(t, "fork") == 0 {
				from = kept[rapid.IntRange(0, len(kept)-1).Draw(t, "which")]
			}
			s = add(t, from, anyPointIn().Draw(t, "point"), now)
			kept, want = append(kept, s), append(want, form(s))
		}
		for i, old := range kept {
			if got := form(old); got != want[i] {
				t.Fatalf("series %d changed: got %s, want %s", i, got, want[i])
			}
		}
	})
}

func form(s sensing.Series) string {
	text, err := json.Marshal(s.Save(-1))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestSavedAndRestoredMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := anySpec().Draw(t, "spec")
		s := sensing.New("queue", spec, noon)
		now := noon
		for range rapid.IntRange(0, 40).Draw(t, "readings") {
			now = now.Add(seconds(0, 25).Draw(t, "later"))
			s, _, _ = s.Add(anyPointIn().Draw(t, "point"), now)
		}
		text, err := json.Marshal(s.Save(-1))
		if err != nil {
			t.Fatal(err)
		}
		var saved sensing.Saved
		if err := json.Unmarshal(text, &saved); err != nil {
			t.Fatal(err)
		}
		back := sensing.Restore("queue", spec, saved, now)
		asked := now.Add(seconds(0, 30).Draw(t, "asked"))
		if a, b := s.Raw(asked), back.Raw(asked); a.Quality != b.Quality || a.Value != b.Value || a.Age != b.Age {
			t.Fatalf("reading: got %+v, want %+v", b, a)
		}
		a, okA := s.Window(asked, time.Minute)
		if b, okB := back.Window(asked, time.Minute); okA != okB || okA && a != b {
			t.Fatalf("window: got %+v %v, want %+v %v", b, okB, a, okA)
		}
		next := anyPointIn().Draw(t, "next") // the warm-up goes on where it was
		if a, b := add(t, s, next, asked).Raw(asked), add(t, back, next, asked).Raw(asked); a.Quality != b.Quality {
			t.Fatalf("after %+v: got %+v, want %+v", next, b, a)
		}
	})
}

func TestBounds(t *testing.T) {
	s := sensing.New("queue", spec(), noon)
	for i := range 3 * sensing.PointsMax {
		s = add(t, s, sensing.Point{Value: float64(i)}, noon.Add(time.Duration(i)*time.Millisecond))
	}
	if s.Len() != sensing.PointsMax {
		t.Errorf("got %d readings, want %d", s.Len(), sensing.PointsMax)
	}
	s = add(t, s, sensing.Point{Value: 1}, noon.Add(3*time.Hour))
	if s.Len() != 2 { // and the one that held on into the hour
		t.Errorf("got %d readings after 3 h, want 2", s.Len())
	}
	if saved := s.Save(1); len(saved.Points) != 1 {
		t.Errorf("got %d saved, want 1", len(saved.Points))
	}
	s = add(t, s, sensing.Point{Unknown: true}, noon.Add(4*time.Hour))
	if saved := s.Save(1); len(saved.Points) != 2 || saved.Points[0].Value != 1 {
		t.Errorf("got %+v saved, want the last value and the newest", saved.Points)
	}
}

func TestRecentKeepsOrderAndShowsGaps(t *testing.T) {
	s := sensing.New("queue", spec(), noon)
	for i := range 200 {
		s = add(t, s, sensing.Point{Value: float64(i), Unknown: i >= 100 && i < 120}, noon.Add(time.Duration(i)*time.Second))
	}
	now := noon.Add(200 * time.Second)
	few := s.Recent(now, 10)
	if len(few) != 10 || few[9].Value != 199 || !few[5].Unknown || few[4].Unknown {
		t.Errorf("got %+v", few)
	}
	if all := s.Recent(now, 1000); len(all) != 200 || all[0].Value != 0 || !all[0].Time.Equal(noon) {
		t.Errorf("got %d samples from %+v", len(all), all[:1])
	}
	if none := s.Recent(now.Add(2*time.Hour), 10); none != nil {
		t.Errorf("got %+v of the last hour, want none", none)
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"points":[{"t":1800000000000000000,"v":3},{"t":1,"v":1e308,"u":true}],"sources":[{"name":"a","warm":9223372036854775807,"down":true}]}`), int64(60))
	f.Fuzz(func(t *testing.T, text []byte, span int64) {
		var saved sensing.Saved
		if json.Unmarshal(text, &saved) != nil {
			return
		}
		s := sensing.Restore("queue", spec(), saved, noon)
		s = add(t, s, sensing.Point{Value: 1, Source: "a"}, noon)
		if r := s.Reading(noon); r.Value != 1 || r.Age != 0 {
			t.Errorf("got %+v, want the reading of now", r)
		}
		if w, ok := s.Window(noon, time.Duration(span)); ok && (w.Covers < 0 || w.Covers > w.Span || w.Mean < w.Min || w.Mean > w.Max) {
			t.Errorf("got %+v", w)
		}
		s.Recent(noon, int(span%100))
	})
}

// Goal: a value that the sensor can't have is not believed, and everybody can see why. Method: bounds on either side,
// values at and beyond them.
func TestValuesOutsideAreUnknown(t *testing.T) {
	least, most := 0.0, 10.5
	bounded := spec()
	bounded.Min, bounded.Max = &least, &most
	for _, tt := range []struct {
		value float64
		fault string
	}{
		{0, ""},
		{10.5, ""},
		{-5, "-5 is below the sensor's min of 0"},
		{11, "11 is above the sensor's max of 10.5"},
	} {
		s, note, err := sensing.New("queue", bounded, noon).Add(sensing.Point{Value: tt.value}, noon)
		if err != nil || s.Fault() != tt.fault || (note != "") != (tt.fault != "") {
			t.Errorf("%v: fault %q, note %q, %v; want fault %q", tt.value, s.Fault(), note, err, tt.fault)
		}
		want := epu.QualityOK
		if tt.fault != "" {
			want = epu.QualityUnknown
		}
		if r := s.Reading(noon); r.Quality != want {
			t.Errorf("%v: it is %s, want %s", tt.value, r.Quality, want)
		}
	}
	counted := spec()
	counted.Source = epu.SourceRabbitMQ // stored before the source had a least value
	s, _, err := sensing.New("queue", counted, noon).Add(sensing.Point{Value: -5}, noon)
	if err != nil || s.Fault() != "-5 is below the sensor's min of 0" || counted.Outside(-5) != s.Fault() || counted.Outside(0) != "" {
		t.Errorf("-5 messages: fault %q, %v; said to be %q", s.Fault(), err, counted.Outside(-5))
	}
	s, _, err = sensing.New("queue", spec(), noon).Add(sensing.Point{Value: -5}, noon)
	if r := s.Reading(noon); err != nil || r.Value != -5 || r.Quality != epu.QualityOK {
		t.Errorf("without bounds -5 is %+v, %v", r, err)
	}
}
