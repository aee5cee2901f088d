package params

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
)

// nestingMax bounds values whose type is not declared.
const nestingMax = 16

// Check brings one value into the parameter's form; problem says what is wrong with it.
func (d *Param) Check(v any) (good any, problem string) {
	switch d.Type {
	case List:
		return d.checkList(v)
	case Map:
		return d.checkMap(v)
	case Enum:
		s, ok := v.(string)
		if !ok || !slices.Contains(d.Values, s) {
			return nil, fmt.Sprintf("must be one of %s, got %s", strings.Join(d.Values, ", "), shown(v))
		}
		return s, ""
	}
	good, problem = checkScalar(d.Type, v)
	if problem != "" {
		return nil, problem + in(d.Unit)
	}
	size, sized := 0.0, true
	switch n := good.(type) {
	case int:
		size = float64(n)
	case float64:
		size = n
	case string:
		if sized = d.Type == DurationOf; sized {
			dur, _ := time.ParseDuration(n)
			size = dur.Seconds()
		}
	default:
		sized = false
	}
	if sized {
		problem = d.bounds(size, shown(v))
	}
	return good, problem
}

func in(unit string) string {
	if unit == "" {
		return ""
	}
	return " (" + unit + ")"
}

func (d *Param) bounds(size float64, got string) string {
	switch {
	case d.Min != nil && size < *d.Min:
		return fmt.Sprintf("must be at least %s%s, got %s", d.BoundText(*d.Min), in(d.Unit), got)
	case d.Max != nil && size > *d.Max:
		return fmt.Sprintf("must be at most %s%s, got %s", d.BoundText(*d.Max), in(d.Unit), got)
	}
	return ""
}

// BoundText is Min or Max as people write values of the parameter: 24h for a duration of 86400 seconds.
func (d *Param) BoundText(v float64) string {
	if d.Type == DurationOf {
		return epu.Span(time.Duration(v * float64(time.Second)))
	}
	return NumberText(v)
}

// DurationText writes a duration as people do, 5m, of its value in a configuration, 5m0s. Other texts stay.
func DurationText(value string) string {
	if d, err := time.ParseDuration(value); err == nil {
		return epu.Span(d)
	}
	return value
}

func (d *Param) checkList(v any) (any, string) {
	list, ok := v.([]any)
	if !ok {
		return nil, "must be a list, got " + shown(v)
	}
	out := make([]any, len(list))
	for i, e := range list {
		good, problem := checkEntry(d.Of, e)
		if problem != "" {
			return nil, fmt.Sprintf("entry %d %s", i+1, problem)
		}
		out[i] = good
	}
	return out, d.bounds(float64(len(out)), fmt.Sprintf("%d entries", len(out)))
}

func (d *Param) checkMap(v any) (any, string) {
	m, ok := mapOf(v)
	if !ok {
		return nil, "must be a map of names, got " + shown(v)
	}
	out := make(map[string]any, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] == nil && d.Of == Map {
			m[k] = map[string]any{}
		}
		good, problem := checkEntry(d.Of, m[k])
		if problem != "" {
			return nil, fmt.Sprintf("'%s' %s", k, problem)
		}
		out[k] = good
	}
	return out, d.bounds(float64(len(out)), fmt.Sprintf("%d entries", len(out)))
}

func checkEntry(of Type, v any) (any, string) {
	switch of {
	case "":
		return plainValue(v, 0)
	case List:
		if _, ok := v.([]any); !ok {
			return nil, "must be a list, got " + shown(v)
		}
		return plainValue(v, 0)
	case Map:
		if _, ok := mapOf(v); !ok {
			return nil, "must be a map of names, got " + shown(v)
		}
		return plainValue(v, 0)
	}
	return checkScalar(of, v)
}

// mapOf takes the kinds of maps that decoders make, and copies them.
func mapOf(v any) (map[string]any, bool) {
	out := map[string]any{}
	switch m := v.(type) {
	case map[string]any:
		for k, e := range m {
			out[k] = e
		}
	case map[string]string:
		for k, e := range m {
			out[k] = e
		}
	case map[any]any:
		for k, e := range m {
			s, ok := k.(string)
			if !ok {
				return nil, false
			}
			out[s] = e
		}
	default:
		return nil, false
	}
	return out, true
}

// plainValue copies a value whose type is not declared.
func plainValue(v any, depth int) (any, string) {
	if depth > nestingMax {
		return nil, "is nested too deeply"
	}
	if m, ok := mapOf(v); ok {
		for k, e := range m {
			good, problem := plainValue(e, depth+1)
			if problem != "" {
				return nil, fmt.Sprintf("'%s' %s", k, problem)
			}
			m[k] = good
		}
		return m, ""
	}
	if list, ok := v.([]any); ok {
		out := make([]any, len(list))
		for i, e := range list {
			good, problem := plainValue(e, depth+1)
			if problem != "" {
				return nil, fmt.Sprintf("entry %d %s", i+1, problem)
			}
			out[i] = good
		}
		return out, ""
	}
	switch v := v.(type) {
	case nil, string, bool:
		return v, ""
	case time.Duration:
		return v.String(), ""
	}
	if f, ok := numberOf(v); ok {
		return wholeOr(f), ""
	}
	return nil, fmt.Sprintf("is of a kind that can't be used (%T)", v)
}

func wholeOr(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int(f)
	}
	return f
}

func numberOf(v any) (float64, bool) {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if _, isDuration := v.(time.Duration); isDuration {
			return 0, false
		}
		return float64(r.Int()), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return float64(r.Uint()), true
	case reflect.Float32, reflect.Float64:
		f := r.Float()
		return f, !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	if n, ok := v.(json.Number); ok {
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}

func checkScalar(t Type, v any) (any, string) {
	s, isText := v.(string)
	switch t {
	case Text:
		if isText {
			return s, ""
		}
		if f, ok := numberOf(v); ok { // YAML reads a bare 5 as a number
			return NumberText(f), ""
		}
		return nil, "must be a text, got " + shown(v)
	case SensorNamed:
		if isText && s != "" {
			return s, ""
		}
		return nil, "must be the name of a sensor, got " + shown(v)
	case SiteNamed:
		if isText && s != "" {
			return s, ""
		}
		return nil, "must be the name of a site, got " + shown(v)
	case Boolean:
		if b, ok := v.(bool); ok {
			return b, ""
		}
		if strings.EqualFold(s, "true") || strings.EqualFold(s, "false") {
			return strings.EqualFold(s, "true"), ""
		}
		return nil, "must be true or false, got " + shown(v)
	case DurationOf:
		return checkDuration(v)
	}
	f, ok := numberOf(v)
	if isText { // old launch plans hold nothing but texts
		var err error
		f, err = strconv.ParseFloat(strings.TrimSpace(s), 64)
		ok = err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	}
	if t == Number {
		if !ok {
			return nil, "must be a number, got " + shown(v)
		}
		return f, ""
	}
	if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return nil, "must be a whole number, got " + shown(v)
	}
	return int(f), ""
}

func checkDuration(v any) (any, string) {
	switch v := v.(type) {
	case time.Duration:
		return v.String(), ""
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String(), ""
		}
	}
	if f, ok := numberOf(v); ok {
		return nil, fmt.Sprintf("must be a duration with a unit, such as %ss, got %s", NumberText(f), shown(v))
	}
	return nil, "must be a duration such as 90s or 5m, got " + shown(v)
}

// shown is a value as a message shows it.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("%q", Clip(v, 60))
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	}
	if m, ok := mapOf(v); ok {
		return fmt.Sprintf("a map of %d", len(m))
	}
	return Clip(fmt.Sprint(v), 60)
}

// Plain is a checked value as policies see it: durations in seconds.
func (d *Param) Plain(v any) any {
	seconds := func(v any) any {
		if s, ok := v.(string); ok {
			if dur, err := time.ParseDuration(s); err == nil {
				return dur.Seconds()
			}
		}
		return v
	}
	switch {
	case d.Type == DurationOf:
		return seconds(v)
	case d.Of == DurationOf && d.Type == List:
		list, _ := v.([]any)
		out := make([]any, len(list))
		for i := range list {
			out[i] = seconds(list[i])
		}
		return out
	case d.Of == DurationOf && d.Type == Map:
		m, _ := mapOf(v)
		for k := range m {
			m[k] = seconds(m[k])
		}
		return m
	}
	return v
}

// NumberText is a number as people write it.
func NumberText(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// Clip cuts a text after n bytes.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
