package decision

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nimbus-epu/epu"
)

// Decided is what people are told of an epu.Decision, read from its JSON. The seed stays out: the wire's numbers are
// doubles, and it is no double.
type Decided struct {
	ID         string       `json:"id"`
	Time       time.Time    `json:"time"`
	Policy     string       `json:"policy"`
	PolicyHash string       `json:"policy_hash"`
	Inputs     []epu.Input  `json:"inputs"`
	Reasons    []epu.Reason `json:"reasons"`
	Wanted     Target       `json:"wanted"`
	Wish       Target       `json:"wish"`
	Clamps     []epu.Reason `json:"clamps"`
	Rejected   []epu.Reason `json:"rejected"`
	Actions    []epu.Action `json:"actions"`
	Alerts     []string     `json:"alerts"`
	Equal      int          `json:"equal"`
	Same       string       `json:"same"`
	Error      string       `json:"error"`

	Conf map[string]any `json:"conf"`
}

// Target is what people are told of a wish.
type Target struct {
	Target int `json:"target"`
}

// Read reads a decision as nodes send it.
func Read(s *structpb.Struct) (Decided, error) {
	var d Decided
	raw, err := s.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	return d, err
}

// Reasons gives each reason with its rule before it and its origin behind.
func Reasons(list []epu.Reason) []string {
	var out []string
	for _, r := range list {
		text := r.Text
		if r.Rule != "" && !strings.Contains(text, r.Rule) {
			text = strings.TrimSuffix(r.Rule+": "+text, ": ")
		}
		if r.Origin != "" {
			text += "  (" + r.Origin + ")"
		}
		out = append(out, text)
	}
	return out
}

// settingBytesMax bounds what is shown of one setting, such as a long schedule; -o json has all of it.
const settingBytesMax = 160

// Settings gives each setting of a policy as KEY=VALUE, in the order of their names.
func Settings(conf map[string]any) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		text, plain := conf[key].(string)
		if !plain {
			raw, err := json.Marshal(conf[key])
			if err != nil {
				continue // it came as JSON
			}
			text = string(raw)
		}
		if len(text) > settingBytesMax {
			text = strings.ToValidUTF8(text[:settingBytesMax], "") + "..."
		}
		out = append(out, key+"="+text)
	}
	return out
}

// inputHooks is the input that says which functions of a policy ran before the decision.
const inputHooks = "hooks"

// inputBackoff is the input that is how long launches wait, in the pool or at a site: the one span that is no reading's.
const inputBackoff = "backoff"

// Inputs gives each thing that was read, with its name before it.
func Inputs(list []epu.Input) []string {
	var out []string
	for _, in := range list {
		if in.Name == inputHooks { // what replaying needs; the rule and the events say it in words
			continue
		}
		text := Input(in.Value)
		if wait, ok := in.Value.(float64); ok && (in.Name == inputBackoff || strings.HasPrefix(in.Name, inputBackoff+" ")) {
			text = epu.Span(time.Duration(wait).Round(time.Second))
		}
		out = append(out, strings.TrimSpace(strings.TrimPrefix(in.Name, "sensor ")+" "+text))
	}
	return out
}

// Input shows a reading with its age and quality, and anything else as short as it goes.
func Input(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case float64:
		return number(v)
	case string:
		return v
	case []any: // of workers, offers or changes there may be thousands
		return strconv.Itoa(len(v))
	case map[string]any:
		if _, ok := v["mean"]; ok {
			return windowText(v)
		}
		if left, ok := v["left"]; ok {
			return workText(left, v["deadline"])
		}
		if places, ok := v["places"].([]any); ok {
			return placesText(places)
		}
		value, ok := v["value"]
		if !ok {
			break
		}
		quality, _ := v["quality"].(string)
		if quality == string(epu.QualityUnknown) {
			return quality // whatever its value is, nobody should read it
		}
		text := Input(value)
		if unit, ok := v["unit"].(string); ok {
			text += " " + unit
		}
		var about []string
		if age, ok := v["age"].(float64); ok {
			if _, stored := v["sensor"]; stored {
				age /= float64(time.Second) // epu.Reading has nanoseconds, what a policy saw has seconds
			}
			about = append(about, number(math.Round(age))+" s old")
		}
		switch in, _ := v["stand_in"].(string); epu.MissingData(in) {
		case epu.MissingFallback:
			about = []string{"fallback: the sensor gives nothing"}
		case epu.MissingLast:
			about = append(about, "last value: the sensor gives nothing newer")
		default:
			if quality != "" {
				about = append(about, quality)
			}
		}
		if len(about) > 0 {
			text += " (" + strings.Join(about, ", ") + ")"
		}
		return text
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const inputBytesMax = 60
	if len(raw) > inputBytesMax {
		return strings.ToValidUTF8(string(raw[:inputBytesMax]), "") + "..."
	}
	return string(raw)
}

// workText shows the work left and until when it should be done.
func workText(left, deadline any) string {
	text := Input(left)
	if deadline != nil {
		text += " until " + Input(deadline)
	}
	return text
}

// placesText names the sites of a placement.
func placesText(list []any) string {
	var names []string
	for _, p := range list {
		if p, ok := p.(map[string]any); ok {
			names = append(names, Input(p["site"]))
		}
	}
	return strings.Join(names, ", ")
}

// windowText shows what sums up a sensor's readings over a span.
func windowText(v map[string]any) string {
	var parts []string
	for _, key := range []string{"mean", "min", "max", "last", "slope", "count"} {
		if f, ok := v[key].(float64); ok {
			parts = append(parts, key+" "+strconv.FormatFloat(f, 'g', 4, 64))
		}
	}
	if q, ok := v["quality"].(string); ok {
		parts = append(parts, q)
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Wrap joins pieces with three spaces into lines of at most width.
func Wrap(pieces []string, width int) []string {
	var lines []string
	for _, p := range pieces {
		last := len(lines) - 1
		if last >= 0 && len(lines[last])+3+len(p) <= width {
			lines[last] += "   " + p
			continue
		}
		lines = append(lines, p)
	}
	return lines
}
