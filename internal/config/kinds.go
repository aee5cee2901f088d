package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// kind is what a setting's value is.
type kind int

// The kinds of values.
const (
	text kind = iota + 1
	path      // of a file or folder; in a file relative to the file's own folder
	address
	link // an http or https URL
	boolean
	whole    // a number from low to high
	size     // bytes, from low to high
	duration // from low to high, in nanoseconds
	word     // one of words
)

// key is one setting.
type key struct {
	name      string // dotted, as in the file
	kind      kind
	def       string // as in the file
	devDef    string // of `epud dev`, where it differs
	defDoc    string // instead of the default, where that depends on the surroundings
	example   string // in the example file, where there is no default to show
	unit      string
	words     []string
	low, high int64
	doc       string // a sentence without a full stop
}

// env is the name of the setting's environment variable.
func (k *key) env() string {
	return "EPU_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// flag is the name of the setting's flag, without the hyphens in front.
func (k *key) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.name)
}

// parse makes a value of its text. A folder is what relative paths are relative to; empty = as they are.
func (k *key) parse(s, folder string) (any, *strictyaml.Fault) {
	s, fault := strictyaml.ParseText(s)
	if fault != nil {
		return nil, fault
	}
	switch k.kind {
	case path:
		if folder != "" && s != "" && !filepath.IsAbs(s) {
			s = filepath.Join(folder, s)
		}
		return s, nil
	case address:
		return s, addressFault(s)
	case link:
		return s, linkFault(s)
	case boolean:
		return orFault(strictyaml.ParseBool(s))
	case whole:
		return orFault(strictyaml.ParseInt(s, k.low, k.high))
	case size:
		return orFault(strictyaml.ParseBytes(s, k.low, k.high))
	case duration:
		return orFault(strictyaml.ParseDuration(s, time.Duration(k.low), time.Duration(k.high)))
	case word:
		return orFault(strictyaml.ParseWord(s, k.words))
	}
	return s, nil
}

// orFault turns a typed value into one that may be anything.
func orFault[T any](v T, fault *strictyaml.Fault) (any, *strictyaml.Fault) { return v, fault }

// format writes a value as it would stand in a file.
func (k *key) format(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return strictyaml.FormatDuration(v)
	case int64:
		if k.kind == size {
			return strictyaml.FormatBytes(v)
		}
	}
	return fmt.Sprint(v)
}

// rangeDoc says which values are allowed.
func (k *key) rangeDoc() string {
	switch k.kind {
	case text:
		return "text"
	case path:
		return "path"
	case address:
		return "host:port or unix:PATH"
	case link:
		return "URL"
	case boolean:
		return "true or false"
	case whole:
		return fmt.Sprintf("%d to %d %s", k.low, k.high, k.unit)
	case size:
		return strictyaml.FormatBytes(k.low) + " to " + strictyaml.FormatBytes(k.high)
	case duration:
		return strictyaml.FormatDuration(time.Duration(k.low)) + " to " + strictyaml.FormatDuration(time.Duration(k.high))
	case word:
		return strings.Join(k.words, ", ")
	}
	return ""
}

// addressFault says why a text is no address to listen on or to dial.
func addressFault(s string) *strictyaml.Fault {
	try := "host:port such as 127.0.0.1:7420, or unix:/path"
	if p, ok := strings.CutPrefix(s, "unix:"); ok {
		if p == "" {
			return &strictyaml.Fault{Text: fmt.Sprintf("%q names no socket", s), Try: try}
		}
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return &strictyaml.Fault{Text: fmt.Sprintf("%q is no address", s), Try: try}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return &strictyaml.Fault{Text: fmt.Sprintf("%q is no port", port), Try: "a number from 0 to 65535; 0 = any free one"}
	}
	return nil
}

// linkFault says why a text is no base URL.
func linkFault(s string) *strictyaml.Fault {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return &strictyaml.Fault{Text: fmt.Sprintf("%q is no base URL", s), Try: "http://host:port or https://host:port"}
	}
	return nil
}

// isExposed reports that strangers could reach an address. A host name is left to whoever resolves it.
func isExposed(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return false
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // refused already
	}
	ip := net.ParseIP(host)
	return host == "" || ip != nil && !ip.IsLoopback()
}
