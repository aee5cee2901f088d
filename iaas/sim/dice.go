package sim

import (
	"math"
	"time"
)

// dice is splitmix64: small, seedable and the same on every machine and Go version.
type dice struct{ state uint64 }

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// float is uniform in [0, 1).
func (d *dice) float() float64 { return float64(d.next()>>11) / (1 << 53) }

// chance is true with probability p. It draws even for 0 and 1, so that changing one knob of the
// Options does not shift what all others do.
func (d *dice) chance(p float64) bool { return d.float() < p }

// within is uniform in [r.Min, r.Max].
func (d *dice) within(r Range) time.Duration {
	if r.Max <= r.Min {
		d.next()
		return r.Min
	}
	return r.Min + time.Duration(d.float()*float64(r.Max-r.Min))
}

// exponential has the given mean, and is at least 1 ns.
func (d *dice) exponential(mean time.Duration) time.Duration {
	return 1 + time.Duration(-math.Log(1-d.float())*float64(mean))
}

// keyed makes dice that depend on nothing but the seed and the words, so what is drawn for one
// machine does not depend on what happened to others before.
func keyed(seed uint64, words ...string) *dice {
	h := seed ^ 0xcbf29ce484222325
	for _, w := range words {
		for i := range len(w) {
			h = (h ^ uint64(w[i])) * 0x100000001b3
		}
		h = (h ^ 0xff) * 0x100000001b3
	}
	d := &dice{state: h}
	d.next()
	return d
}
