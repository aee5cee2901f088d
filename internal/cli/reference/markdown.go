package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Settings is the annotation of a flag that stands for a setting. Its value is the page that describes all
// of them, to which the reference sends readers instead of repeating the list at each command.
const Settings = "epu_settings_page"

// Markdown is the whole reference of a program: each visible command with its flags and examples, then
// the flags of all commands and the exit codes. exits has one table row ("| 0 | done |") a line.
func Markdown(root *cobra.Command, exits string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nGenerated from the program's own help; do not edit.\n\n%s\n\n", root.Name(), paragraph(root.Long))
	list := visible(root)
	for _, c := range list {
		name := title(root, c)
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", name, strings.ReplaceAll(name, " ", "-"), lowerFirst(c.Short))
	}
	for _, c := range list {
		command(&b, root, c)
	}
	if root.PersistentFlags().HasAvailableFlags() {
		fmt.Fprintf(&b, "\n## Flags of every command\n\n")
		flags(&b, root.PersistentFlags())
	}
	fmt.Fprintf(&b, "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n%s", exits)
	if old := hidden(root); len(old) > 0 {
		fmt.Fprintf(&b, "\n## Old names\n\nThese still work and print the new name on stderr: %s.\n", strings.Join(old, ", "))
	}
	return b.String()
}

func command(b *strings.Builder, root, c *cobra.Command) {
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	usage := strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
	if _, args, ok := strings.Cut(c.Use, " "); ok {
		usage += " " + args
	}
	fmt.Fprintf(b, "\n## %s\n\n    %s %s\n\n%s\n", title(root, c), root.Name(), usage, paragraph(long))
	own := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	page := ""
	add := func(f *pflag.Flag) {
		if at := f.Annotations[Settings]; len(at) > 0 {
			page = at[0]
		} else if root.PersistentFlags().Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	}
	c.NonInheritedFlags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	if own.HasAvailableFlags() {
		b.WriteString("\n")
		flags(b, own)
	}
	if page != "" {
		fmt.Fprintf(b, "\nEvery key of [the settings](%s) is a flag too.\n", page)
	}
	if c.Example != "" {
		b.WriteString("\nExamples:\n\n")
		for line := range strings.SplitSeq(c.Example, "\n") {
			fmt.Fprintf(b, "    %s\n", strings.TrimSpace(line))
		}
	}
}

// title is a command's name with those of its groups.
func title(root, c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
}

// visible lists commands by name; in the place of a group stand its own.
func visible(parent *cobra.Command) []*cobra.Command {
	children := slices.Clone(parent.Commands())
	slices.SortFunc(children, func(a, b *cobra.Command) int { return strings.Compare(a.Name(), b.Name()) })
	var list []*cobra.Command
	for _, c := range children {
		switch {
		case c.Hidden:
		case c.HasSubCommands():
			list = append(list, visible(c)...)
		default:
			list = append(list, c)
		}
	}
	return list
}

func hidden(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if c.Hidden && !strings.HasPrefix(c.Name(), "__") {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	return names
}

// flags writes a table of flags. A vertical bar would end a cell.
func flags(b *strings.Builder, set *pflag.FlagSet) {
	b.WriteString("| flag | meaning | default |\n| --- | --- | --- |\n")
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		arg, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if arg != "" {
			name += " " + arg
		}
		def := f.DefValue
		if def == "[]" || def == "false" || def == "0s" {
			def = ""
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"), def)
	})
}

// paragraph lets the page break lines where it likes.
func paragraph(text string) string {
	parts := strings.Split(text, "\n\n")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(strings.TrimSpace(p), "\n", " ")
	}
	return strings.Join(parts, "\n\n")
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
