package params

// Type is the type of a parameter.
type Type string

// The types of parameters.
const (
	Integer     Type = "integer"
	Number      Type = "number"
	Text        Type = "string"
	Boolean     Type = "boolean"
	DurationOf  Type = "duration" // written as 90s or 5m; seconds to the policy
	Enum        Type = "enum"     // one of Values
	List        Type = "list"     // of Of
	Map         Type = "map"      // from names to Of
	SensorNamed Type = "sensor"   // the name of a sensor of the pool
	SiteNamed   Type = "site"     // the name of a site in the pool's placement
)

// Types lists every type of parameter.
func Types() []Type {
	return []Type{Integer, Number, Text, Boolean, DurationOf, Enum, List, Map, SensorNamed, SiteNamed}
}

// Param is one parameter that a policy declares.
type Param struct {
	Name     string
	Type     Type
	Of       Type     // of a list's or map's entries; empty = any
	Min, Max *float64 // of numbers; of durations in seconds; of lists and maps the number of entries
	Default  any      // nil = none; in the form that Check gives
	Example  any      // nil = none; what the policy is tried with, and what pages show
	Required bool
	Values   []string // of an enum
	Unit     string
	Doc      string
	Aliases  []Alias
}

// Alias is an old name of a parameter.
type Alias struct {
	Name   string
	Negate bool // the old name of a switch means the opposite: "true" makes it false, anything else true
}

// Names are the name of a parameter and its old ones.
func (d *Param) Names() []string {
	out := []string{d.Name}
	for _, a := range d.Aliases {
		out = append(out, a.Name)
	}
	return out
}
