package answers

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nimbus-epu/epu/scripts"
)

// Goal: a rule that is renamed in a policy is noticed here, where answers go by its name. Method: every rule that a
// stock policy or a file that these share gives, and each name that is known here.
func TestRulesAreGiven(t *testing.T) {
	given := map[string]bool{}
	reason := regexp.MustCompile(`(?:because\(.*, |\brule = )"([^"]+)"`)
	err := fs.WalkDir(scripts.Policies(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".lua") || strings.HasSuffix(path, "_test.lua") {
			return err
		}
		text, err := fs.ReadFile(scripts.Policies(), path)
		for _, found := range reason.FindAllSubmatch(text, -1) {
			given[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range append(slices.Clone(asides), learnRule) {
		if !given[rule] {
			t.Errorf("no stock policy gives a reason with the rule %q; they give %v", rule, given)
		}
	}
}
