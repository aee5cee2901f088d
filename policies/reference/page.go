package reference

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/nimbus-epu/epu/policies"
	"github.com/nimbus-epu/epu/policies/policytest"
	"github.com/nimbus-epu/epu/policies/sandbox"
)

// groups are the parts of the page, in its order.
var groups = []struct{ name, title, intro string }{
	{"control", "control: what a policy wants", "A wish is repeatable: it says what there should be, and is carried out until the next decision takes its place. Nothing that `control` is told happens before the decision is recorded, and the guard rails of the pool have the last word. `launch`, `terminate`, `drain` and `resume` are done once instead."},
	{"state", "state: what a policy sees", "What the controller knows at one moment. It does not change during a decision; what is read is recorded with the decision, so that it can be explained and made again. Iterators and views of workers make nothing until they are visited, and are valid only during the call in which they were made."},
	{"cron", "cron: lines of a crontab", "Lines have five fields: minute, hour, day of the month, month, day of the week (0 is Sunday). A time that clocks skip in spring counts when they have gone forward; one that comes twice in autumn counts once. A line whose hour is a star is about the passing of time: it counts twice, or not at all."},
	{"text", "text: regular expressions", "In place of Lua's patterns, which can run for hours: the syntax of [RE2](https://github.com/google/re2/wiki/Syntax), in linear time."},
	{policytest.Table, "test: the tests of a policy", "In files whose names end in `_test.lua`, beside what policies have but for `control` and `state`. [Write, test and try out a policy](../how-to/write-a-policy.md) shows some, and tests over time, which are in YAML."},
	{"", "Lua's own functions", "The language is Lua 5.1. Of its libraries there are `math` without `randomseed`, `table`, and `string` without patterns; there are no files, clocks, coroutines, modules or code made at run time, and globals can't be set. These differ from plain Lua:"},
}

// Page is the reference of the whole API, in Markdown.
func Page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- %s -->\n# What policies can reach\n\n%s\n", notice, opener)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", g.title, g.intro)
		if g.name == "" {
			plain(&b)
			continue
		}
		for _, f := range functions() {
			if f.Group == g.name {
				entry(&b, f)
			}
		}
		if code, ok := Examples()[g.name]; ok {
			fmt.Fprintf(&b, "\n```lua\n%s```\n", code)
		}
	}
	b.WriteString("\n## Tables\n\nA question mark says that the field may be absent.\n")
	for _, c := range classes() {
		class(&b, c)
	}
	b.WriteString("\n## Bounds\n\n" + bounds + "\n\n| what | at most |\n|---|---|\n")
	for _, x := range policies.Bounds() {
		fmt.Fprintf(&b, "| %s | %s |\n", x.What, x.Most)
	}
	return b.String()
}

const opener = "A policy is a Lua file that returns a table, [`epu.Policy`](#epupolicy). Its functions are called with `control`,\n" +
	"`state` and `conf`, its configuration. Functions are called with a dot, never with a colon. Durations and ages are\n" +
	"seconds, times are unix seconds, and both may have fractions. A name that does not exist is an error, not nil.\n" +
	"[Write a policy of your own](../how-to/policies.md) goes step by step; [How a decision comes\n" +
	"about](../explanation/decisions.md) says what becomes of a wish."

const bounds = "A policy that goes beyond one of these fails with the line at which it did: the pool keeps its last wish, failed\n" +
	"workers are replaced all the same, and the pool's health is `policy-failing` until a decision succeeds. Time and\ninstructions can't be caught with `pcall`. Memory is that of the policy's own tables and functions, whatever the node\n" +
	"does beside it. Between decisions nothing need stay but `state.memory`: the Lua state is made anew after an error, once\n" +
	"it holds more than 8 MiB, and after a thousand decisions at the latest. A decision that fails or is refused leaves nothing\n" +
	"in `state.memory`: `initialize` or `reconfigure`, if they ran before it, run again before the next one."

func entry(b *strings.Builder, f sandbox.Func) {
	fmt.Fprintf(b, "\n### `%s`\n\n", f.Signature())
	b.WriteString(f.Doc + "\n")
	var facts []string
	if f.Field {
		facts = append(facts, "type: "+linked(f.Returns))
	} else {
		for _, p := range f.Params() {
			facts = append(facts, fmt.Sprintf("`%s`: %s", p.Name, linked(p.Type)))
		}
		if f.Returns != "" {
			facts = append(facts, "returns "+linked(f.Returns))
		}
	}
	if len(facts) > 0 {
		fmt.Fprintf(b, "\n- %s\n", strings.Join(facts, "\n- "))
	}
}

var className = regexp.MustCompile(`epu\.[A-Z]\w+`)

// linked is a type as code, with a link to the class in it.
func linked(typ string) string {
	out := "`" + typ + "`"
	if name := className.FindString(typ); name != "" {
		out = "[" + out + "](#" + anchor(name) + ")"
	}
	return out
}

func anchor(class string) string { return strings.ToLower(strings.ReplaceAll(class, ".", "")) }

func plain(b *strings.Builder) {
	b.WriteString("\n| function | what |\n|---|---|\n")
	for _, f := range policies.Functions() {
		if !ours(f.Group) {
			fmt.Fprintf(b, "| `%s` | %s |\n", f.Signature(), strings.ReplaceAll(f.Doc, "|", "\\|"))
		}
	}
}

func class(b *strings.Builder, c sandbox.Class) {
	if c.Parent != "" {
		c.Doc += " It has all that " + linked(c.Parent) + " has, and this:"
	}
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", c.Name, c.Doc)
	for _, f := range c.Fields {
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", f.Name, strings.ReplaceAll(f.Type, "|", "\\|"), f.Doc)
	}
}
