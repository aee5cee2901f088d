package clitest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Examples are the command lines that a command shows.
func Examples(c *cobra.Command) (lines []string) {
	for line := range strings.Lines(c.Example) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// EachHasScript checks that every command of a parent that people see has a script of its own name in a folder,
// which runs all its examples and an error. Line is how the parent is called, such as "epumgmt policy".
func EachHasScript(t *testing.T, parent *cobra.Command, line, folder string) {
	t.Helper()
	for _, c := range parent.Commands() {
		if c.Hidden {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(folder, c.Name()+".txtar"))
		if err != nil {
			t.Errorf("%s has no script: %v", c.Name(), err)
			continue
		}
		script := string(raw)
		examples := Examples(c)
		if len(examples) == 0 {
			t.Errorf("%s has no example", c.Name())
		}
		for _, example := range examples {
			if !regexp.MustCompile(`(?m)^(exec|exits \d+) ` + regexp.QuoteMeta(example) + `$`).MatchString(script) {
				t.Errorf("the script of %s does not run its example %q", c.Name(), example)
			}
		}
		if !regexp.MustCompile(`(?m)^exits (1|4|10|11|12|13|14|20) ` + regexp.QuoteMeta(line+" "+c.Name())).MatchString(script) {
			t.Errorf("the script of %s has no error", c.Name())
		}
	}
}
