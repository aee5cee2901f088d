package reconcile_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/reconcile"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// Goal: what is done in situations that people ask about, and why. Method: scenarios with prose under
// testdata; the lines after each ---- are what Actions answered, and are rewritten by -rewrite.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-rewrite accepts it):\n%s", file, diff)
			}
		})
	}
}

// play runs a scenario and gives it back with the answers of now.
func play(t *testing.T, script string) string {
	w := newWorld()
	var out strings.Builder
	answer, inAnswer := "", false
	for _, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		switch {
		case line == "----":
			inAnswer = true
			out.WriteString("----\n" + answer)
			continue
		case inAnswer && line != "":
			continue
		}
		inAnswer = false
		out.WriteString(line + "\n")
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			answer = w.do(t, words)
		}
	}
	return out.String()
}

// do carries out one line of a scenario.
func (w *world) do(t *testing.T, words []string) string {
	t.Helper()
	switch words[0] {
	case "set":
		for _, kv := range words[1:] {
			key, value, _ := strings.Cut(kv, "=")
			w.set(t, key, value)
		}
	case "worker":
		w.worker(t, words[1], words[2:])
	case "gone":
		for i, x := range w.in.Workers {
			if string(x.ID) == words[1] {
				w.in.Workers = append(w.in.Workers[:i:i], w.in.Workers[i+1:]...)
				break
			}
		}
	case "wait":
		w.in.Now = w.in.Now.Add(duration(t, words[1]))
	case "plan":
		return describe(w.plan(), w.in.Now)
	case "act":
		p := w.plan()
		w.carryOut(p)
		return describe(p, w.in.Now)
	default:
		t.Fatalf("unknown line %q", words)
	}
	return ""
}

func (w *world) set(t *testing.T, key, value string) {
	t.Helper()
	switch key {
	case "target":
		w.in.Wish.Target = number(t, value)
	case "names":
		w.in.Wish.Uniques = map[string]epu.Unique{}
		for _, n := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' }) {
			w.in.Wish.Uniques[n] = epu.Unique{}
		}
	case "sites":
		w.in.Wish.Sites = map[epu.SiteID]int{}
		for _, p := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' }) {
			site, n, _ := strings.Cut(p, ":")
			w.in.Wish.Sites[epu.SiteID(site)] = number(t, n)
		}
	case "urgency":
		w.in.Wish.Urgency = epu.Urgency(value)
	case "site":
		w.in.Wish.Site = epu.SiteID(value)
	case "victims":
		w.in.Wish.Victims = epu.VictimOrder(value)
	case "heal":
		w.in.Wish.NoHeal = value == "off"
	case "places":
		w.in.Placement = nil
		for _, p := range strings.Split(value, ",") {
			site, most, _ := strings.Cut(p, ":")
			place := epu.Placement{Site: epu.SiteID(site)}
			if most != "" {
				place.Max = number(t, most)
			}
			w.in.Placement = append(w.in.Placement, place)
		}
	case "backoff":
		site, d, _ := strings.Cut(value, ":")
		w.backoff[epu.SiteID(site)] = w.in.Now.Add(duration(t, d))
	case "unsynced":
		w.unsynced[epu.SiteID(value)] = true
	case "synced":
		delete(w.unsynced, epu.SiteID(value))
	case "in-flight":
		w.in.Limits.InFlight = number(t, value)
	case "launches", "terminations":
		n, d, _ := strings.Cut(value, "/")
		count := epu.Count{N: number(t, n), Window: duration(t, d)}
		if key == "launches" {
			w.in.Limits.Launches = count
		} else {
			w.in.Limits.Terminations = count
		}
	case "loss":
		n, d, _ := strings.Cut(value, "%/")
		w.in.Limits.Loss = epu.Share{Percent: number(t, n), Window: duration(t, d)}
	case "freeze":
		w.in.Freeze = map[string]reconcile.Freeze{"off": reconcile.Thawed, "heal": reconcile.FrozenHeal, "on": reconcile.Frozen}[value]
	case "hold":
		w.in.Hold = value == "on"
	case "canary":
		w.in.Canaries = map[string]int{"on": 1}[value]
	case "drain":
		w.in.DrainTo = value == "on"
	default:
		t.Fatalf("unknown setting %q", key)
	}
}

func (w *world) worker(t *testing.T, id string, words []string) {
	t.Helper()
	x := &epu.Worker{ID: epu.WorkerID(id), Site: "cloud", State: epu.Running, Health: epu.HealthOK, Created: w.in.Now}
	for _, old := range w.in.Workers {
		if old.ID == x.ID {
			c := *old
			x = &c
		}
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "age":
			x.Created = w.in.Now.Add(-duration(t, value))
		case "site":
			x.Site = epu.SiteID(value)
		case "name":
			x.Name = value
		case "draining":
			x.Draining = value != "off"
		case "protected":
			x.Protected = value != "off"
		case "leaving":
			x.Draining, x.Leaving = value != "off", value != "off"
		case "replacing":
			x.Replacing = value != "off"
		case "unheard":
			if w.unheard[x.ID] = value != "off"; w.unheard[x.ID] {
				x.Health = epu.HealthUnknown
			}
		case "busy":
			x.BusyUntil = w.in.Now.Add(duration(t, value))
		case "charge":
			x.ChargeAt = w.in.Now.Add(duration(t, value))
		case "suspect":
			x.Suspect = value != "off"
		case "ended":
			x.Ended, x.State = true, epu.Terminating
		case "idle":
			x.IdleSince = w.in.Now.Add(-duration(t, value))
		case "drained":
			w.in.Overdue[x.ID] = reconcile.Overdue{Reason: "drained", Drained: true}
		case "late":
			w.in.Overdue[x.ID] = reconcile.Overdue{Reason: "not running after 15m0s"}
		default:
			known := false
			for _, s := range epu.States() {
				if s.Word() == word {
					x.State, known = s, true
				}
			}
			for h := epu.HealthUnknown; h <= epu.Zombie; h++ {
				if h.String() == word {
					x.Health, known = h, true
				}
			}
			if !known {
				t.Fatalf("unknown word %q", word)
			}
		}
	}
	before := len(w.in.Workers)
	w.change(x.ID, func(old *epu.Worker) { *old = *x; before = -1 })
	if before >= 0 {
		w.add(x)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w", s, err))
	}
	return d
}
