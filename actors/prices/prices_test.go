package prices_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/prices"
)

// Goal: what workers cost follows from what their sites said last, and nothing that was handed out changes. Method:
// small lists, and sites that change their minds.

func offer(site epu.SiteID, size epu.Allocation, price float64) epu.Offer {
	return epu.Offer{Site: site, Allocation: size, Market: epu.OnDemand, USDPerHour: price}
}

func TestSitesChangeTheirMinds(t *testing.T) {
	var l prices.List
	east := []epu.Offer{offer("east", "m", 3), offer("east", "s", 1)}
	if l.Cheapest() != nil || !l.Take("east", east, time.Hour) || l.Take("east", east, time.Hour) {
		t.Error("the same offers again are news, or the first were none")
	}
	before := l.Cheapest()
	if !l.Take("east", east, time.Minute) || !l.Take("cloud", []epu.Offer{offer("cloud", "m", 3), offer("cloud", "l", 2)}, 0) {
		t.Error("another period, or another site, is no news")
	}
	want := []epu.Offer{east[1], offer("cloud", "l", 2), offer("cloud", "m", 3), east[0]}
	if diff := cmp.Diff(want, l.Cheapest()); diff != "" {
		t.Errorf("the cheapest first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]epu.Offer{east[1], east[0]}, before); diff != "" {
		t.Errorf("what was handed out has changed (-want +got):\n%s", diff)
	}
	for at, want := range map[epu.Placement]float64{
		{Site: "east", Allocation: "s"}:                    1,
		{Site: "cloud", Allocation: "l"}:                   2,
		{Site: "cloud", Allocation: "s"}:                   0,
		{Site: "cloud", Allocation: "l", Market: epu.Spot}: 0,
		{Site: "nowhere", Allocation: "s"}:                 0,
	} {
		if got := l.Hour(at, ""); got != want {
			t.Errorf("%+v: an hour costs %v, want %v", at, got, want)
		}
	}
}

func TestBudget(t *testing.T) {
	worker := func(state epu.State, price float64) *epu.Worker { return &epu.Worker{State: state, Price: price} }
	workers := []*epu.Worker{worker(epu.Running, 2), worker(epu.Pending, 1), worker(epu.Running, 0), worker(epu.Terminating, 4)}
	var l prices.List
	if got, want := l.Budget(9, workers, 3), (epu.Budget{PerHour: 9, Unknown: 3}); got != want {
		t.Errorf("without prices: got %+v, want %+v", got, want)
	}
	l.Take("east", []epu.Offer{offer("east", "m", 2)}, 0)
	if got, want := l.Budget(9, workers, 3), (epu.Budget{PerHour: 9, Now: 3, Unknown: 1}); got != want {
		t.Errorf("with prices: got %+v, want %+v", got, want)
	}
}

func TestNextCharge(t *testing.T) {
	var l prices.List
	l.Take("hours", nil, time.Hour)
	l.Take("seconds", nil, time.Second)
	asked := time.Date(2026, 11, 21, 14, 7, 0, 0, time.UTC)
	for _, c := range []struct {
		site  epu.SiteID
		after time.Duration
		want  time.Duration // after it was asked for; 0 = none
	}{
		{"hours", 0, time.Hour},
		{"hours", time.Hour - 1, time.Hour},
		{"hours", time.Hour, 2 * time.Hour},
		{"hours", 150 * time.Minute, 3 * time.Hour},
		{"hours", -time.Minute, time.Hour}, // the clock was set back
		{"seconds", time.Minute, 0},
		{"unknown", time.Minute, 0},
	} {
		var want time.Time
		if c.want > 0 {
			want = asked.Add(c.want)
		}
		if got := l.NextCharge(c.site, asked, asked.Add(c.after)); !got.Equal(want) {
			t.Errorf("at %s %v after it was asked for: got %v, want %v", c.site, c.after, got, want)
		}
	}
}
