package doctest

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nimbus-epu/epu/internal/resource"
)

// shell are the programs of others that pages may use without a check of their arguments.
var shell = []string{
	"apt-get", "cat", "cd", "cp", "curl", "export", "git", "go", "head", "install", "jq", "journalctl", "kill", "ls", "mkdir", "openssl", "pgrep", "rm",
	"sed", "sleeper-queue", "ssh", "stress-ng", "systemctl", "systemd-sysusers", "tail", "tar", "watch",
}

// commands is what console blocks are checked against.
type commands struct {
	programs map[string]func() *cobra.Command
	targets  []string     // of the Makefile
	sample   resource.Set // what epud dev applies to a new store
}

var targetPattern = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)

// makeTargets lists the targets of a Makefile.
func makeTargets(makefile string) []string {
	var names []string
	for _, m := range targetPattern.FindAllStringSubmatch(makefile, -1) {
		names = append(names, m[1])
	}
	return names
}

// checkConsole checks each command of a console block. Lines without "$ " are output.
func (c commands) checkConsole(b block) []problem {
	var found []problem
	lines := strings.Split(b.text, "\n")
	for i := 0; i < len(lines); i++ {
		line, ok := strings.CutPrefix(lines[i], "$ ")
		if !ok {
			continue
		}
		at := i
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + " " + strings.TrimSpace(lines[i])
		}
		parsed, ok := words(line)
		if !ok {
			found = append(found, b.problem(at, "a quote is not closed: %s", line))
			continue
		}
		for _, command := range parsed {
			if text := c.check(command); text != "" {
				found = append(found, b.problem(at, "%s", text))
			}
		}
	}
	return found
}

// check gives what is wrong with one command, or nothing.
func (c commands) check(args []string) string {
	for len(args) > 0 && (args[0] == "sudo" || strings.Contains(args[0], "=")) {
		if len(args) > 2 && args[0] == "sudo" && args[1] == "-u" {
			args = args[2:]
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return ""
	}
	name := strings.TrimPrefix(args[0], "bin/")
	args = args[1:]
	if program, ok := c.programs[name]; ok {
		return checkProgram(program(), args)
	}
	switch {
	case name == "make":
		for _, a := range args {
			if !strings.Contains(a, "=") && !strings.HasPrefix(a, "-") && !slices.Contains(c.targets, a) {
				return "make has no target " + a
			}
		}
		return ""
	case slices.Contains(shell, name):
		return ""
	}
	return name + " is no program of this project, nor one that internal/doctest knows of"
}

// checkProgram asks a program's own command tree about a command line, without running it.
func checkProgram(root *cobra.Command, args []string) string {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	root.InitDefaultVersionFlag()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err.Error()
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return cmd.CommandPath() + ": " + err.Error()
	}
	if help, err := cmd.Flags().GetBool("help"); err == nil && help {
		return ""
	}
	left := cmd.Flags().Args()
	if len(left) > 0 && cmd.HasSubCommands() { // whatever it takes, to answer with an error of its own
		return cmd.CommandPath() + " has no command " + left[0]
	}
	if err := cmd.ValidateArgs(left); err != nil {
		return cmd.CommandPath() + ": " + err.Error()
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return cmd.CommandPath() + ": " + err.Error()
	}
	return ""
}

// words splits a shell line into its commands and those into words: quotes, comments and the signs
// between commands are understood, redirections are dropped. It reports whether all quotes are closed.
func words(line string) ([][]string, bool) {
	var s splitter
	for _, r := range line {
		if s.comment {
			break
		}
		s.next(r)
	}
	if s.quote != 0 {
		return nil, false
	}
	s.endCommand()
	return s.commands, true
}

type splitter struct {
	commands [][]string
	command  []string
	word     strings.Builder
	inWord   bool
	quote    rune
	comment  bool
	drop     bool // the next word is where output goes
}

func (s *splitter) next(r rune) {
	switch {
	case s.quote != 0 && r == s.quote:
		s.quote = 0
	case s.quote != 0:
		s.word.WriteRune(r)
	case r == '\'' || r == '"':
		s.quote, s.inWord = r, true
	case r == '#' && !s.inWord:
		s.comment = true
	case r == ' ' || r == '\t':
		s.endWord()
	case r == '|' || r == ';' || r == '&':
		s.endCommand()
	case r == '>' || r == '<':
		if strings.Trim(s.word.String(), "0123456789") == "" { // 2>
			s.word.Reset()
			s.inWord = false
		}
		s.endWord()
		s.drop = true
	default:
		s.word.WriteRune(r)
		s.inWord = true
	}
}

func (s *splitter) endWord() {
	if s.inWord && !s.drop {
		s.command = append(s.command, s.word.String())
	}
	s.drop = s.drop && !s.inWord
	s.word.Reset()
	s.inWord = false
}

func (s *splitter) endCommand() {
	s.endWord()
	if len(s.command) > 0 {
		s.commands = append(s.commands, s.command)
	}
	s.command, s.drop = nil, false
}
