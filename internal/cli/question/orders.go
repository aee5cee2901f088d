package question

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/internal/cli"
	"github.com/nimbus-epu/epu/internal/cli/keyvalue"
	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/snapshot"
)

const orders = `  state.running(), conf.key, x = 3     Lua: an expression's values are printed, names stay
  decide()                             what the policy decides on what is seen now
  .sensor NAME=VALUE|unknown           another reading, as if it had been that all along
  .set KEY=VALUE                       another setting, checked by the policy
  .unset KEY                           the setting's default
  .reset                               the readings and settings of the beginning
  .save FILE                           write what is seen now with its policy, for --file
  .help, .quit`

// order carries out a line that begins with a dot.
func (s *session) order(text string) error {
	words := strings.Fields(text)
	switch args := words[1:]; words[0] {
	case ".help":
		s.say("%s", orders)
		return nil
	case ".reset":
		s.given = nil
		s.console.See(s.first, s.firstConf)
		return nil
	case ".sensor":
		return s.sensor(args)
	case ".set":
		changes, err := keyvalue.Parse([]string{strings.TrimSpace(strings.TrimPrefix(text, ".set"))})
		if err != nil {
			return err
		}
		return s.change(changes.AsMap())
	case ".unset":
		return s.unset(args)
	case ".save":
		if len(args) != 1 {
			return errors.New(".save FILE: name one file")
		}
		return s.save(args[0])
	}
	return fmt.Errorf("%s is no order here%s; .help lists them", words[0],
		policies.DidYouMean(words[0], []string{".help", ".quit", ".reset", ".save", ".sensor", ".set", ".unset"}))
}

func (s *session) sensor(args []string) error {
	given, err := readings(args)
	if err != nil {
		return err
	}
	if len(given) == 0 {
		return errors.New(".sensor NAME=VALUE: say which and what")
	}
	snap := s.console.Snapshot()
	readings := maps.Clone(s.given)
	if readings == nil {
		readings = map[string]epu.Reading{}
	}
	for name, v := range given {
		known := s.doc.Seen.Sensors()
		if _, ok := snap.Readings[name]; !ok && s.doc.Seen.Live != nil {
			return fmt.Errorf("the pool has no sensor %q%s", name, policies.DidYouMean(name, known))
		}
		if why := s.doc.Seen.Outside(name, v); why != "" {
			s.say("%s: %s; taken as unknown", name, why)
			v = math.NaN()
		}
		readings[name] = policies.Imagined(name, v, snap.Now)
		snap = snap.With(readings[name])
	}
	s.given = readings
	s.console.See(snap, s.console.Conf())
	return nil
}

func (s *session) unset(args []string) error {
	keys, err := keyvalue.Keys(args)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New(".unset KEY: say which")
	}
	changes := map[string]any{}
	for _, key := range keys {
		changes[key] = nil
	}
	return s.change(changes)
}

// change gives settings other values; nil is the default.
func (s *session) change(changes map[string]any) error {
	merged, problems := s.p.Vary(s.console.Conf(), policies.Variant{Changes: changes})
	if problems != nil {
		return policies.Problems(problems)
	}
	s.console.See(s.console.Snapshot(), merged)
	return nil
}

// save writes the snapshot with what was changed here: readings, settings and the policy that decides.
func (s *session) save(name string) error {
	doc := s.doc
	doc.Conf, doc.Seen.Given = s.console.Conf(), slices.Clone(doc.Seen.Given)
	for _, sensor := range slices.Sorted(maps.Keys(s.given)) {
		r := s.given[sensor]
		doc.Seen.Given = append(slices.DeleteFunc(doc.Seen.Given, func(old epu.Reading) bool { return old.Sensor == sensor }), r)
	}
	doc.Policy = snapshot.Policy{Name: s.p.Name}
	for _, f := range s.p.Files() {
		doc.Policy.Files = append(doc.Policy.Files, snapshot.Source{Path: f.Path, Text: f.Text})
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path(name), append(raw, '\n'), 0o644); err != nil {
		return epu.E(epu.Invalid, "write", name, cli.Reason(err))
	}
	s.say("%s holds the snapshot; epumgmt policy repl --file %s goes on with it", name, name)
	return nil
}
