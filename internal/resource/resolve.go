package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// list writes words as "a, b, c".
func list(words []string) string { return strings.Join(words, ", ") }

// Resolve makes what a site launches for a pool at one of its placements: the type's mapping to the
// site, with variables merged and substituted. The overlay holds variables that a policy asks for beyond
// the pool's; nil for none. Problems come sorted by variable or text, at the places they were given.
func Resolve(pool epu.PoolSpec, typ epu.TypeSpec, place epu.Placement, overlay map[string]string) (epu.LaunchSpec, []Problem) {
	var log strictyaml.Log
	r := resolver{pool: pool, typ: typ, log: &log}
	spec := r.launch(place, overlay)
	return spec, log.Sorted()
}

// resolver is one Resolve.
type resolver struct {
	pool epu.PoolSpec
	typ  epu.TypeSpec
	log  *strictyaml.Log
}

// launch resolves one placement.
func (r *resolver) launch(place epu.Placement, overlay map[string]string) epu.LaunchSpec {
	spec := epu.LaunchSpec{
		Site: place.Site, Type: r.typ.Name, Market: place.Market, Allocation: place.Allocation,
		Health: r.pool.Health, Drain: r.pool.Drain,
	}
	vars := r.vars(overlay)
	if len(vars) > 0 {
		spec.Vars = vars
	}
	at, ok := r.typ.Sites[place.Site]
	if !ok {
		sites := slices.Sorted(maps.Keys(r.typ.Sites))
		names := make([]string, len(sites))
		for i, s := range sites {
			names[i] = string(s)
		}
		problemAt(r.log, r.pool.Origins, r.placeKey(place.Site),
			fmt.Sprintf("deployable type %s has no site %s", r.typ.Name, place.Site), strictyaml.DidYouMean(string(place.Site), names))
		return spec
	}
	if spec.Allocation == "" {
		spec.Allocation = at.Allocation
	}
	value := func(name string) (string, string) { return r.substitute(vars, name) }
	siteKey := "sites." + string(place.Site)
	spec.Image = r.expand(at.Image, siteKey+".image", value)
	spec.Args = r.expandAll(at.Args, siteKey+".args", value)
	spec.Run = r.expandAll(r.typ.AgentRun, "agent.run", value)
	return spec
}

// placeKey finds the key of the pool's first placement at a site.
func (r *resolver) placeKey(site epu.SiteID) string {
	for i, p := range r.pool.Placement {
		if p.Site == site {
			return fmt.Sprintf("placement[%d].site", i)
		}
	}
	return "placement"
}

// vars merges the type's defaults, the pool's variables and the overlay, and checks the result.
func (r *resolver) vars(overlay map[string]string) map[string]epu.Var {
	vars := map[string]epu.Var{}
	for name, spec := range r.typ.Variables {
		switch {
		case spec.From != "":
			vars[name] = epu.Var{From: spec.From, Secret: true}
		case spec.Default != nil:
			vars[name] = epu.Var{Value: *spec.Default}
		}
	}
	declared := slices.Sorted(maps.Keys(r.typ.Variables))
	give := func(name, key string, v epu.Var) {
		spec, known := r.typ.Variables[name]
		switch {
		case !known:
			problemAt(r.log, r.pool.Origins, key, fmt.Sprintf("deployable type %s declares no variable %s", r.typ.Name, name), strictyaml.DidYouMean(name, declared))
		case v.From == "" && (spec.Secret || spec.From != ""):
			problemAt(r.log, r.pool.Origins, key, "a secret can't stand in a file", "{from: env:NAME} or {from: file:/path}")
		case v.From == "" && len(spec.OneOf) > 0 && !slices.Contains(spec.OneOf, v.Value):
			problemAt(r.log, r.pool.Origins, key, fmt.Sprintf("%q is not one of %s", v.Value, list(spec.OneOf)), strictyaml.DidYouMean(v.Value, spec.OneOf))
		case v.From != "" && len(spec.OneOf) > 0:
			problemAt(r.log, r.pool.Origins, key, fmt.Sprintf("must be one of %s, so it can't be a secret", list(spec.OneOf)), "write the value")
		default:
			v.Secret = v.Secret || v.From != ""
			vars[name] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.pool.Vars)) {
		give(name, "vars."+name, r.pool.Vars[name])
	}
	for _, name := range slices.Sorted(maps.Keys(overlay)) {
		give(name, "policy", epu.Var{Value: overlay[name]})
	}
	for _, name := range declared {
		_, given := r.pool.Vars[name]
		if _, ok := vars[name]; !ok && !given && r.typ.Variables[name].Required {
			problemAt(r.log, r.pool.Origins, "vars", fmt.Sprintf("%s is missing: deployable type %s requires it", name, r.typ.Name), fmt.Sprintf("vars: {%s: <value>}", name))
		}
	}
	return vars
}

// substitute is the value of a variable for a text, or why there is none.
func (r *resolver) substitute(vars map[string]epu.Var, name string) (value, trouble string) {
	v, ok := vars[name]
	spec, known := r.typ.Variables[name]
	_, given := r.pool.Vars[name]
	switch {
	case !known || spec.Secret || spec.From != "":
		return "", "" // the type's own mistake, reported with it
	case !ok && (spec.Required || given):
		return "", "" // reported as missing, or with the value that was given
	case ok && v.From != "":
		return "", fmt.Sprintf("${%s} is a secret of this pool, and arguments show in process lists", name)
	case !ok:
		return "", fmt.Sprintf("${%s} has neither a default nor a value from the pool", name)
	}
	return v.Value, ""
}

// expand substitutes one text of the type.
func (r *resolver) expand(text, key string, value func(string) (string, string)) string {
	out, _ := expand(text, func(name string) string {
		s, trouble := value(name)
		if trouble != "" {
			where := "of pool " + string(r.pool.Name)
			problemAt(r.log, r.typ.Origins, key, trouble+" ("+where+")", fmt.Sprintf("vars: {%s: <value>} in the pool, or a default in the type", name))
		}
		return s
	})
	return out
}

// expandAll substitutes a list of texts.
func (r *resolver) expandAll(texts []string, key string, value func(string) (string, string)) []string {
	if texts == nil {
		return nil
	}
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = r.expand(t, fmt.Sprintf("%s[%d]", key, i), value)
	}
	return out
}

// expand replaces ${NAME} by its value and $$ by one dollar. The faults name every other dollar.
func expand(text string, value func(name string) string) (string, []strictyaml.Fault) {
	var out strings.Builder
	var faults []strictyaml.Fault
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			out.WriteString(text)
			return out.String(), faults
		}
		out.WriteString(text[:i])
		text = text[i+1:]
		if rest, ok := strings.CutPrefix(text, "$"); ok {
			out.WriteByte('$')
			text = rest
			continue
		}
		if rest, ok := strings.CutPrefix(text, "{"); ok {
			if name, after, closed := strings.Cut(rest, "}"); closed && variableForm.MatchString(name) {
				out.WriteString(value(name))
				text = after
				continue
			}
		}
		faults = append(faults, strictyaml.Fault{Text: "a dollar that begins no ${NAME}", Try: "${NAME} for a variable, $$ for a dollar"})
	}
}
