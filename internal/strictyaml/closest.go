package strictyaml

import (
	"slices"
	"strings"

	"github.com/nimbus-epu/epu/policies/spelling"
)

// Closest is the candidate that the word was most likely meant to be, or "" when none is near.
func Closest(word string, candidates []string) string { return spelling.Nearest(word, candidates) }

// DidYouMean is the suggestion for a word that is none of the candidates: the nearest one, or all of
// them when they are few, or "".
func DidYouMean(word string, candidates []string) string {
	if c := Closest(word, candidates); c != "" {
		return "did you mean " + c + "?"
	}
	if n := len(candidates); n == 0 || n > 16 {
		return ""
	}
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	return "known here: " + strings.Join(sorted, ", ")
}
