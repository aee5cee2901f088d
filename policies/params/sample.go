package params

import "time"

// Sample makes up a configuration with which a policy can be tried: values for the parameters that need one.
// Examples are taken as they are.
func (s Set) Sample() map[string]any {
	out := map[string]any{}
	for i := range s {
		switch d := &s[i]; {
		case d.Example != nil:
			out[d.Name] = d.Example
		case d.Required:
			out[d.Name] = d.likely(d.Type)
		}
	}
	return out
}

// likely is a value of a type within the parameter's bounds.
func (d *Param) likely(t Type) any {
	n := 10.0
	if d.Min != nil {
		n = max(n, *d.Min)
	}
	if d.Max != nil {
		n = min(n, *d.Max)
	}
	switch t {
	case Integer, Number:
		return n
	case DurationOf:
		return time.Duration(max(n, 60) * float64(time.Second)).String()
	case Boolean:
		return true
	case Enum:
		return d.Values[0]
	case List:
		return []any{(&Param{}).likely(d.Of)}
	case Map:
		return map[string]any{"a": (&Param{}).likely(d.Of)}
	case SensorNamed:
		return "queue"
	}
	return "a"
}

// Another is a value that differs from the one given, where that is simple.
func (d *Param) Another(value any) any {
	switch v := value.(type) {
	case int:
		return v + 1
	case float64:
		return v * 2
	case bool:
		return !v
	case string:
		if dur, err := time.ParseDuration(v); d.Type == DurationOf && err == nil {
			return (dur + time.Minute).String()
		}
		if d.Type == Enum {
			return d.Values[len(d.Values)-1]
		}
	}
	return d.likely(d.Type)
}
