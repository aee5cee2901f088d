package answers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// Summary is a decision in one line.
func Summary(d *epu.Decision) *msg.DecisionSummary {
	dir := d.Direction()
	text := string(dir)
	wanted, got := d.Wanted.Target, d.Wish.Target
	cut := len(d.Clamps) > 0 && wanted != got
	switch {
	case cut && wanted > got && dir == epu.Up:
		text = fmt.Sprintf("up to %d cut to %d", wanted, got)
	case cut && dir == epu.Hold:
		text = fmt.Sprintf("hold at %d, %d wanted", got, wanted)
	case cut:
		text = fmt.Sprintf("%s %d->%d, %d wanted", dir, d.Before, got, wanted)
	case dir != epu.Hold:
		text = fmt.Sprintf("%s %d->%d", dir, d.Before, got)
	}
	switch {
	case d.Error != "":
		text = "policy failed: " + d.Error
	case len(d.Clamps) > 0:
		c := d.Clamps[len(d.Clamps)-1]
		text += ": " + c.Rule + inFile(c.Origin)
	case len(d.Reasons) > 0:
		text += ": " + leading(d).Text
	}
	return &msg.DecisionSummary{
		Id: string(cmp.Or(d.Same, d.ID)), Time: timestamppb.New(d.Time), Direction: string(dir), Before: int32(d.Before),
		After: int32(got), Text: text,
	}
}

// asides are rules of the policies that come with epu whose reasons say where workers go, which of them, and
// what else was wanted, after those that say how many.
var asides = []string{"heal", "retirable", "full", "place", "answer"}

// leading is the one reason that a line has room for. Policies say first what they found, then what became of
// it within their own limits: of a target that moved the last word counts, and of one that stayed the first.
func leading(d *epu.Decision) epu.Reason {
	if d.Direction() == epu.Hold {
		return d.Reasons[0]
	}
	for _, r := range slices.Backward(d.Reasons) {
		if !slices.Contains(asides, r.Rule) {
			return r
		}
	}
	return d.Reasons[0]
}

func inFile(origin string) string {
	if origin == "" {
		return ""
	}
	return " (" + origin + ")"
}

// Doing says what is being carried out now, or what keeps anything from being.
func Doing(v msg.PoolView) []string {
	var out []string
	switch {
	case v.Recovery:
		out = append(out, "nothing: the store is in recovery until you have decided about every machine (epumgmt sweep, adopt, then end-recovery)")
	case v.EndAll:
		out = append(out, "wants none"+lastWish(v, " instead of its last wish, %s,")+" and its policy is not asked: terminate-all switched launching off (undo: epumgmt enable)")
	case v.Removing:
		out = append(out, "wants none: the pool is being removed")
	case v.Freeze != nil:
		out = append(out, "keeps "+cmp.Or(lastWish(v, "its last wish, %s"), "to its last wish, none")+": its policy is not asked while the pool is frozen (undo: epumgmt thaw "+string(v.Spec.Name)+")")
	}
	var g groups
	for _, w := range v.Workers {
		switch {
		case w.Ended || w.State >= epu.Terminating:
			g.add("end", " at "+string(w.Site), cmp.Or(w.EndReason, w.Error), string(w.ID))
		case w.Draining:
			g.add("drain", " at "+string(w.Site), "", string(w.ID))
		case w.Replacing:
			g.add("replace", " at "+string(w.Site)+" once another runs", "", string(w.ID))
		case w.State < epu.Running:
			g.add("launch", " at "+string(w.Site), w.State.Word(), string(w.ID))
		}
	}
	out = append(out, g.lines()...)
	for _, r := range v.Refused {
		out = append(out, "waits: "+r.Text)
	}
	return out
}

// lastWish puts the wish that is durable into a text; empty where it is for none.
func lastWish(v msg.PoolView, form string) string {
	if v.Wish.Target == 0 {
		return ""
	}
	return fmt.Sprintf(form, epu.Plural(v.Wish.Target, "worker"))
}

// Asked reports that a pool's policy is asked now. While it is not, no decision comes after a start.
func Asked(v msg.PoolView) bool { return !v.EndAll && !v.Removing && !v.Recovery && v.Freeze == nil }

// Did says what a decision of the past led to at once.
func Did(d *epu.Decision) []string {
	var g groups
	for _, a := range d.Actions {
		where := ""
		if a.Site != "" {
			where = " at " + string(a.Site)
		}
		if a.Kind == epu.ActLaunch {
			g.add(string(a.Kind), where, a.Reason, cmp.Or(a.Name, epu.Plural(a.Count, "worker")))
			continue
		}
		for _, w := range a.Workers {
			g.add(string(a.Kind), where, a.Reason, string(w))
		}
	}
	return g.lines()
}

// groups puts workers of which the same is to be said on one line, so that many do not hide the rest.
type groups struct {
	list []*group
}

type group struct {
	verb, where, why string
	ids              []string
}

func (g *groups) add(verb, where, why, id string) *group {
	for _, x := range g.list {
		if x.verb == verb && x.where == where && x.why == why {
			x.ids = append(x.ids, id)
			return x
		}
	}
	x := &group{verb: verb, where: where, why: why, ids: []string{id}}
	g.list = append(g.list, x)
	return x
}

func (g *groups) lines() []string {
	var out []string
	for _, x := range g.list {
		out = append(out, x.line(""))
	}
	return out
}

// line writes a group; when stands behind the workers.
func (x *group) line(when string) string {
	text := x.verb + " " + workers(x.ids) + x.where + when
	if x.why != "" {
		text += ": " + x.why
	}
	return text
}

// namedMax is how many workers of a group are named.
const namedMax = 3

// workers names a few workers, and counts the others.
func workers(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	names := strings.Join(ids[:min(len(ids), namedMax)], ", ")
	if len(ids) > namedMax {
		names += ", ..."
	}
	return fmt.Sprintf("%s (%s)", epu.Plural(len(ids), "worker"), names)
}

// WouldChange says what would lead to another answer than a decision, newest words first: what cut it,
// what holds it back, and what it was computed from. sizeKey is the setting that scale changes. The view
// is the zero one, and no turns are known, for a decision of the past.
func WouldChange(d *epu.Decision, v msg.PoolView, turns msg.Turns, sizeKey string) []string {
	var out []string
	conf := v.Conf
	if d != nil {
		for _, c := range d.Clamps {
			out = append(out, uncut(c, d.Wanted.Target))
		}
		if conf == nil {
			conf = d.Conf
		}
	}
	for _, r := range v.Refused {
		if strings.HasPrefix(r.Rule, "limits.") {
			out = append(out, "a higher "+r.Rule+inFile(r.Origin))
		}
	}
	if d != nil {
		if turns.Known && turns.Next != d.Wish.Target {
			out = append(out, fmt.Sprintf("nothing at all (the next decision gives %d)", turns.Next))
		}
		out = append(out, otherReadings(d, turns)...)
	}
	if n, ok := conf[sizeKey]; ok {
		text := fmt.Sprintf("%s other than %v", sizeKey, n)
		if v.Spec.Name != "" {
			text += fmt.Sprintf(" (epumgmt scale %s N)", v.Spec.Name)
		}
		out = append(out, text)
	}
	if v.Freeze != nil {
		out = append(out, "epumgmt thaw "+string(v.Spec.Name))
	}
	if v.EndAll {
		out = append(out, "epumgmt enable")
	}
	if len(out) == 0 && d != nil && v.Spec.Name != "" {
		out = append(out, fmt.Sprintf("other settings of its policy (epumgmt reconfigure %s KEY=VALUE)", v.Spec.Name))
	}
	return slices.Compact(out)
}

// uncut says what would have let a policy have its way.
func uncut(c epu.Reason, wanted int) string {
	switch c.Rule {
	case "limits.max":
		return fmt.Sprintf("limits.max >= %d%s", wanted, inFile(c.Origin))
	case "limits.min":
		return fmt.Sprintf("limits.min <= %d%s", wanted, inFile(c.Origin))
	case "uniques":
		return "fewer unique workers"
	case "unknown reading":
		return "good readings of its sensors"
	case "target":
		return "a policy that wants none less than 0"
	}
	return "another " + c.Rule + inFile(c.Origin)
}

// learnRule is the rule of the policies that come with epu by which the work left and its deadline do not count yet.
const learnRule = "learn"

// sensorInput begins the name of an input that is a sensor's reading.
const sensorInput = "sensor "

// otherReadings names the sensors that a decision followed, with what they said or where it would turn, and whatever
// else it read that changes by itself.
func otherReadings(d *epu.Decision, turns msg.Turns) []string {
	var out []string
	named := map[string]bool{}
	for _, in := range d.Inputs {
		if sensor, ok := strings.CutPrefix(in.Name, sensorInput); ok {
			named[sensor] = true
			out = append(out, otherReading(sensor, readingOf(in.Value), turns)...)
		}
	}
	for _, in := range d.Inputs {
		kind, of, _ := strings.Cut(in.Name, " ")
		switch sensor, _, _ := strings.Cut(of, " "); {
		case kind == "window" && !named[sensor]:
			named[sensor] = true
			out = append(out, "other readings of "+sensor)
		case in.Name == "work":
			if slices.ContainsFunc(d.Reasons, func(r epu.Reason) bool { return r.Rule == learnRule }) {
				out = append(out, "samples of how fast the work left becomes less, which it learns from (or a setting such as rate_per_worker)")
			} else {
				out = append(out, otherWork(in.Value, turns)...)
			}
		case kind == "time":
			out = append(out, "another time")
		}
	}
	return slices.Compact(out)
}

// standIn is what takes the place of a missing reading, in words.
var standIn = map[epu.MissingData]string{epu.MissingLast: "last value", epu.MissingFallback: "fallback"}

func otherReading(sensor string, r *epu.Reading, turns msg.Turns) (out []string) {
	at := slices.IndexFunc(turns.Sensors, func(t msg.Turn) bool { return t.Sensor == sensor })
	switch {
	case r == nil:
		return []string{"a reading of " + sensor}
	case r.Quality != "" && r.Quality != epu.QualityOK:
		return []string{fmt.Sprintf("a good reading of %s instead of one that is %s", sensor, r.Quality)}
	case r.StandIn != "":
		return []string{fmt.Sprintf("a reading of %s in place of the %s %.6g", sensor, standIn[r.StandIn], r.Value)}
	case at < 0: // of a decision of the past, or the reading is no good any more
		return []string{"other readings of " + sensor}
	}
	if e := turns.Sensors[at].Above; e != nil {
		out = append(out, edgeText(sensor, ">", e))
	}
	if e := turns.Sensors[at].Below; e != nil {
		out = append(out, edgeText(sensor, "<", e))
	}
	return out
}

func edgeText(sensor, to string, e *msg.Edge) string {
	if !e.Beyond {
		to += "="
	}
	return fmt.Sprintf("%s %s %.6g (then %d)", sensor, to, e.Value, e.Target)
}

// otherWork says what of the work left would lead to another answer.
func otherWork(value any, turns msg.Turns) []string {
	raw, err := json.Marshal(value)
	var w epu.Work
	if err == nil {
		err = json.Unmarshal(raw, &w)
	}
	var out []string
	if err == nil && w.Left != nil {
		out = append(out, otherReading(w.Left.Sensor, w.Left, turns)...)
	}
	if err == nil && !w.Deadline.IsZero() {
		out = append(out, "another deadline than "+w.Deadline.UTC().Format(time.RFC3339))
	}
	return out
}
