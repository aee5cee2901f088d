package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// Problem is one thing that is wrong in a file, a flag or an environment variable.
type Problem = strictyaml.Problem

// Error carries every problem of a load. Its kind is epu.Invalid.
type Error = strictyaml.Error

// settingsSchema may stand at the top of a file of settings.
const settingsSchema = "epu/config/v1"

// Source says which layer gave a value.
type Source string

// The sources, the strongest first.
const (
	FromFlag        Source = "flag"
	FromEnvironment Source = "environment"
	FromFile        Source = "file"
	FromDefault     Source = "default"
)

// Origin is one setting's value and where it came from.
type Origin struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // as it would stand in the file
	Source Source `json:"source"`
	Where  string `json:"where,omitempty"` // "--listen", "EPU_LISTEN" or "epud.yaml:3"; empty for a default
}

// setting is a value of one layer.
type setting struct {
	value  any
	source Source
	where  string
}

// layers collects the settings of one load. The layers are added from weak to strong.
type layers struct {
	keys  []key
	log   strictyaml.Log
	viper *viper.Viper
	won   map[string]setting // the strongest value of each key so far
}

// newLayers begins with the defaults; given overrides those that depend on the surroundings.
func newLayers(keys []key, dev bool, given map[string]string) *layers {
	l := &layers{keys: keys, viper: viper.New(), won: map[string]setting{}}
	for i := range keys {
		k := &keys[i]
		s := k.def
		if dev && k.devDef != "" {
			s = k.devDef
		}
		if g, ok := given[k.name]; ok {
			s = g
		}
		v, fault := k.parse(s, "")
		if fault != nil {
			l.log.Add(Problem{File: "default", Key: k.name, Text: fault.Text, Try: fault.Try})
			continue
		}
		l.viper.SetDefault(k.name, v)
		l.won[k.name] = setting{value: v, source: FromDefault}
	}
	return l
}

// merge adds one layer on top.
func (l *layers) merge(layer map[string]setting) {
	nested := map[string]any{}
	for name, s := range layer {
		l.won[name] = s
		section, last, found := strings.Cut(name, ".")
		if !found {
			nested[name] = s.value
			continue
		}
		if nested[section] == nil {
			nested[section] = map[string]any{}
		}
		nested[section].(map[string]any)[last] = s.value
	}
	if err := l.viper.MergeConfigMap(nested); err != nil {
		l.log.Add(Problem{Text: err.Error()})
	}
}

// file reads the settings in one mapping of a file, which may have keys beside them.
func (l *layers) file(m *strictyaml.Map, folder string) map[string]setting {
	out := map[string]setting{}
	sections := map[string]*strictyaml.Map{}
	for i := range l.keys {
		k := &l.keys[i]
		at, name := m, k.name
		if section, last, found := strings.Cut(k.name, "."); found {
			if sections[section] == nil {
				sections[section] = m.Get(section).Map()
			}
			at, name = sections[section], last
		}
		v := at.Get(name)
		s, ok := v.Scalar()
		if !ok {
			continue
		}
		value, fault := k.parse(s, folder)
		if fault != nil {
			v.Fail(fault.Text, fault.Try)
			continue
		}
		out[k.name] = setting{value: value, source: FromFile, where: v.Where()}
	}
	for _, section := range sections {
		section.Done()
	}
	return out
}

// environment adds the EPU_ variables. An empty one counts as unset.
func (l *layers) environment(getenv func(string) string) {
	layer := map[string]setting{}
	for i := range l.keys {
		k := &l.keys[i]
		s := getenv(k.env())
		if s == "" {
			continue
		}
		value, fault := k.parse(s, "")
		if fault != nil {
			l.log.Add(Problem{File: k.env(), Key: k.name, Text: fault.Text, Try: fault.Try})
			continue
		}
		layer[k.name] = setting{value: value, source: FromEnvironment, where: k.env()}
	}
	l.merge(layer)
}

// flags adds the flags that were given.
func (l *layers) flags(set *pflag.FlagSet) {
	if set == nil {
		return
	}
	layer := map[string]setting{}
	for i := range l.keys {
		k := &l.keys[i]
		f := set.Lookup(k.flag())
		if f == nil || !f.Changed {
			continue
		}
		value, fault := k.parse(f.Value.String(), "")
		if fault != nil {
			l.log.Add(Problem{File: "--" + f.Name, Key: k.name, Text: fault.Text, Try: fault.Try})
			continue
		}
		layer[k.name] = setting{value: value, source: FromFlag, where: "--" + f.Name}
	}
	l.merge(layer)
}

// decode fills a struct with the merged values. Every key must have its field and every field its key.
func (l *layers) decode(into any) error {
	err := l.viper.UnmarshalExact(into, func(c *mapstructure.DecoderConfig) {
		c.WeaklyTypedInput = false
		c.DecodeHook = nil
		c.ErrorUnset = true
	})
	if err != nil {
		return epu.E(epu.Internal, "merge configuration", "", err)
	}
	return nil
}

// origins lists every setting with where it came from, in the order of the reference.
func (l *layers) origins() []Origin {
	out := make([]Origin, 0, len(l.keys))
	for i := range l.keys {
		k := &l.keys[i]
		s := l.won[k.name]
		out = append(out, Origin{Key: k.name, Value: k.format(s.value), Source: s.source, Where: s.where})
	}
	return out
}

// fail records a problem with a key's value, at the place that gave it.
func (l *layers) fail(name, text, try string) {
	p := Problem{Key: name, Text: text, Try: try}
	switch s := l.won[name]; s.source {
	case FromFile:
		i := strings.LastIndexByte(s.where, ':')
		p.File = s.where[:i]
		if n, fault := strictyaml.ParseInt(s.where[i+1:], 0, 1<<31); fault == nil {
			p.Line = int(n)
		}
	case FromFlag, FromEnvironment:
		p.File = s.where
	case FromDefault:
		p.File = "default"
	}
	l.log.Add(p)
}

// addFlags makes a flag of every key. Values are texts: the same parser as for files looks at them.
func addFlags(set *pflag.FlagSet, keys []key) {
	for i := range keys {
		k := &keys[i]
		usage := strings.ReplaceAll(k.doc, "`", "") + " (" + k.env()
		if k.def != "" {
			usage += ", default " + k.def
		}
		f := set.VarPF(new(textFlag), k.flag(), "", usage+")")
		if k.kind == boolean {
			f.NoOptDefVal = "true"
		}
	}
}

// textFlag is a flag's text as it was given.
type textFlag string

// String is the text.
func (f *textFlag) String() string { return string(*f) }

// Set keeps the text.
func (f *textFlag) Set(s string) error { *f = textFlag(s); return nil }

// Type is what help shows as the flag's value.
func (f *textFlag) Type() string { return "value" }

// document reads a settings file, which holds one document or none.
func (l *layers) document(path string, content []byte) *strictyaml.Map {
	docs := strictyaml.Documents(path, content, &l.log)
	if len(docs) == 0 {
		return nil
	}
	for _, extra := range docs[1:] {
		extra.At().Fail("a second document", "keep one; pools, sites and deployable types are files of their own (epumgmt apply -f)")
	}
	doc := docs[0]
	if kind := doc.Get("kind"); kind.Present() {
		kind.Fail("this is no file of settings", "pools, sites and deployable types are applied: epumgmt apply -f "+path)
		return nil
	}
	if v := doc.Get("schema"); v.Present() {
		v.Word("", settingsSchema)
	}
	return doc
}

// folderOf is what relative paths in a file are relative to.
func folderOf(file string) string { return filepath.Dir(file) }

// readProblem says that a file could not be read.
func readProblem(path string, err error, try string) Problem {
	var detail *fs.PathError
	if errors.As(err, &detail) {
		err = detail.Err // the path stands in front already
	}
	return Problem{File: path, Text: fmt.Sprintf("can't be read: %v", err), Try: try}
}
