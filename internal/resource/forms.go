package resource

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// nameMax bounds names: they go into launch IDs, tags, stream names and tables.
const nameMax = 63

// windowMax is the longest window of "N per window".
const windowMax = 24 * time.Hour

var (
	// nameForm is the form of names of pools, sites, types and owners.
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	// siteNameForm also allows local@<node>, a cluster's local sites.
	siteNameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?$`)
	// versionForm is the form of versions of policies: a hash, or how it begins.
	versionForm = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	// variableForm is the form of variables' names: they become names in a program's environment.
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// nameOf reads a name.
func nameOf(v strictyaml.Value, form *regexp.Regexp) string {
	s, ok := v.Scalar()
	if !ok {
		return ""
	}
	switch {
	case len(s) > nameMax:
		v.Fail(fmt.Sprintf("the name has %d characters, more than %d", len(s), nameMax), "")
	case !form.MatchString(s):
		v.Fail(fmt.Sprintf("%q is not a name", s), "letters, digits, dots, underscores and hyphens, a letter or digit first")
	default:
		return s
	}
	return ""
}

// ownerOf reads a document's owner.
func ownerOf(m *strictyaml.Map) epu.Owner {
	v := m.Get("owner")
	if !v.Present() {
		return epu.DefaultOwner
	}
	return epu.Owner(nameOf(v, nameForm))
}

// versionOf reads the version that a policy is pinned to.
func versionOf(v strictyaml.Value) string {
	s, ok := v.Scalar()
	if ok && !versionForm.MatchString(s) {
		v.Fail(fmt.Sprintf("%q is no version of a policy", s), "4 to 64 of the digits 0-9a-f, as epumgmt policy shows them")
		return ""
	}
	return s
}

// perWindow reads "<what> per <window>" and leaves what to the caller.
func perWindow(v strictyaml.Value, example string) (what string, window time.Duration, ok bool) {
	s, ok := v.Scalar()
	if !ok {
		return "", 0, false
	}
	what, after, found := strings.Cut(s, " per ")
	if !found {
		v.Fail(fmt.Sprintf("%q is no count per window", s), "such as "+example)
		return "", 0, false
	}
	window, fault := strictyaml.ParseDuration(strings.TrimSpace(after), time.Second, windowMax)
	if fault != nil {
		v.Fail("the window "+fault.Text, fault.Try)
		return "", 0, false
	}
	return strings.TrimSpace(what), window, true
}

// countOf reads "50 per 1m".
func countOf(v strictyaml.Value, def epu.Count) epu.Count {
	what, window, ok := perWindow(v, "50 per 1m")
	if !ok {
		return def
	}
	n, fault := strictyaml.ParseInt(what, 1, workersMax)
	if fault != nil {
		v.Fail("the count "+fault.Text, fault.Try)
		return def
	}
	return epu.Count{N: int(n), Window: window}
}

// formatCount is the opposite of countOf.
func formatCount(c epu.Count) string {
	return fmt.Sprintf("%d per %s", c.N, strictyaml.FormatDuration(c.Window))
}

// referenceOf reads where a secret comes from.
func referenceOf(v strictyaml.Value) string {
	s, ok := v.Scalar()
	if !ok {
		return ""
	}
	kind, where, _ := strings.Cut(s, ":")
	switch {
	case kind == "env" && variableForm.MatchString(where):
		return s
	case kind == "env":
		v.Fail(fmt.Sprintf("%q is no name of an environment variable", where), "env:NAME")
	case kind == "file" && strings.HasPrefix(where, "/"):
		return s
	case kind == "file":
		v.Fail("the file's path must be absolute: it is read wherever the launch is made", "file:/path")
	case strings.HasPrefix(s, "attribute "):
		v.Fail("attributes are not supported yet", "env:NAME or file:/path")
	default:
		v.Fail(fmt.Sprintf("%q is no source of a variable", s), "env:NAME or file:/path")
	}
	return ""
}

// variableName checks the name of a variable and reports whether it can be one.
func variableName(name string, v strictyaml.Value) bool {
	switch {
	case !variableForm.MatchString(name):
		v.Fail(fmt.Sprintf("%q can't be a variable's name", name), "letters, digits and underscores, no digit first")
	case strings.HasPrefix(name, "EPU_"):
		v.Fail("names that begin with EPU_ are EPU's own", "choose another name")
	default:
		return true
	}
	return false
}

// problemAt records a problem at the place of a key, or of the nearest key around it.
func problemAt(log *strictyaml.Log, origins map[string]string, key, text, try string) {
	p := Problem{Key: key, Text: text, Try: try}
	for _, k := range []string{key, parentKey(key), parentKey(parentKey(key)), "name", "kind"} {
		if where, ok := origins[k]; ok {
			p.File, p.Line = splitWhere(where)
			break
		}
	}
	log.Add(p)
}

// parentKey is the key that a dotted or indexed key is part of.
func parentKey(key string) string {
	if i := strings.LastIndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return key
}

// splitWhere splits "file:line".
func splitWhere(where string) (file string, line int) {
	i := strings.LastIndexByte(where, ':')
	if i < 0 {
		return where, 0
	}
	n, fault := strictyaml.ParseInt(where[i+1:], 0, 1<<31)
	if fault != nil {
		return where, 0
	}
	return where[:i], int(n)
}
