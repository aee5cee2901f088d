package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nimbus-epu/epu/internal/strictyaml"
)

// UnknownCommand says that cmd has no command of that name, and names the one that was probably meant.
func UnknownCommand(cmd *cobra.Command, name string) error {
	var known []string
	for _, c := range cmd.Commands() {
		if !strings.HasPrefix(c.Name(), "__") {
			known = append(known, c.Name())
		}
	}
	try := cmd.Root().Name() + " help"
	if cmd.HasParent() {
		try = cmd.CommandPath() + " --help"
	}
	if c := strictyaml.Closest(name, known); c != "" {
		try = "did you mean: " + cmd.CommandPath() + " " + c
	}
	if cmd.HasParent() {
		return Usage(try, "%s has no command %q", cmd.CommandPath(), name)
	}
	return Usage(try, "unknown command %q", name)
}

// Parent makes a command that only groups others: alone it shows its help, and a word that is none of
// its commands is a mistake.
func Parent(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return UnknownCommand(cmd, args[0])
	}
	return cmd
}

// helpWidthMin is the width below which help is not wrapped any further.
const helpWidthMin = 40

// FitHelp lets the help of all commands break its lines where a terminal of that width ends; 0 = leave it.
func FitHelp(root *cobra.Command, width int) {
	if width <= 0 {
		return
	}
	width = max(width, helpWidthMin)
	wrapped := fmt.Sprintf(".FlagUsagesWrapped %d | trim", width)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages | trim", wrapped))
	fitLong(root, width)
}

func fitLong(cmd *cobra.Command, width int) {
	paragraphs := strings.Split(cmd.Long, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = wrap(p, width)
	}
	cmd.Long = strings.Join(paragraphs, "\n\n")
	for _, c := range cmd.Commands() {
		fitLong(c, width)
	}
}

// wrap breaks a paragraph anew. A word longer than a line stands alone.
func wrap(text string, width int) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(text) {
		w := utf8.RuneCountInString(word)
		switch {
		case n == 0:
		case n+1+w > width:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += w
	}
	return b.String()
}

// FlagError says in our words what is wrong with a flag, and what to write instead.
func FlagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help"
	if word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if c := strictyaml.Closest(word, known); c != "" {
			help = "did you mean: --" + c
		}
		return Usage(help, "%s: %w", cmd.CommandPath(), err)
	}
	var shorthand *pflag.NotExistError
	if errors.As(err, &shorthand) && strings.Trim(shorthand.GetSpecifiedShortnames(), "0123456789") == "" {
		return Usage(help, "%s: -%s is a number below zero, which makes no sense here", cmd.CommandPath(), shorthand.GetSpecifiedShortnames())
	}
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return Usage(help, "%s: %w", cmd.CommandPath(), err)
	}
	flag := value.GetFlag()
	switch flag.Value.Type() {
	case "duration":
		return Usage("--"+flag.Name+" 90s (or 15m, 2h)", "%s: --%s: %q is no time with its unit", cmd.CommandPath(), flag.Name, value.GetValue())
	case "int", "int32", "int64", "uint", "uint32", "uint64":
		return Usage("--"+flag.Name+" 20", "%s: --%s: %q is no whole number in its range", cmd.CommandPath(), flag.Name, value.GetValue())
	}
	return Usage(help, "%s: --%s: %q is no value for it", cmd.CommandPath(), flag.Name, value.GetValue())
}

// Reason is why a call on a file failed, without the call's name and the path: the error around it says
// both.
func Reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%w", path.Err)
	}
	return err
}

// Takes checks the number of arguments; most < 0 means any.
func Takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		why := "too many arguments"
		if len(args) < least {
			why = "an argument is missing"
		}
		return Usage(cmd.Parent().CommandPath()+" "+cmd.Use, "%s: %s", cmd.CommandPath(), why)
	}
}
