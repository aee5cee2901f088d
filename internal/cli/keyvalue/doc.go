// Package keyvalue reads settings from a command line, as in "preserve_n=4 tags={a: b}", and from YAML
// files, into the value that a Reconfigure message carries. A value is what YAML says it is; a duration
// stays the text "5m", because only the policy knows its parameters. What can't cross the wire unchanged
// is refused rather than rounded.
//
// It is pure: bytes in, a value or every problem out. Start with Parse in keyvalue.go.
package keyvalue
