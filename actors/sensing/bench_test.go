package sensing_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/sensing"
)

// Goal: a tick that reads many sensors costs no allocation, and a reading that arrives costs the same
// however many came before.

func filled(t testing.TB, n int) sensing.Series {
	s := sensing.New("queue", spec(), noon)
	for i := range n {
		s = add(t, s, sensing.Point{Value: float64(i)}, noon.Add(time.Duration(i)*15*time.Second))
	}
	return s
}

func TestReadingAllocatesNothing(t *testing.T) {
	s := filled(t, 240)
	now := noon.Add(time.Hour)
	var r epu.Reading
	var w epu.Window
	if n := testing.AllocsPerRun(100, func() {
		r = s.Reading(now)
		w, _ = s.Window(now, 10*time.Minute)
	}); n != 0 {
		t.Errorf("got %v allocations (%+v, %+v)", n, r, w)
	}
}

func BenchmarkTickOf10000Series(b *testing.B) {
	all := make([]sensing.Series, 10_000)
	for i := range all {
		all[i] = filled(b, 240)
	}
	now := noon.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		for i := range all {
			if r := all[i].Reading(now); r.Quality != epu.QualityOK {
				b.Fatal(r)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(all)), "ns/reading")
}

func BenchmarkWindowOf240(b *testing.B) {
	s, now := filled(b, 240), noon.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Window(now, time.Hour); !ok {
			b.Fatal("no window")
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s, now := filled(b, 240), noon.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(15 * time.Second)
		s, _, _ = s.Add(sensing.Point{Value: 1}, now)
	}
}
