package strictyaml

import (
	"slices"
	"strings"
)

// Closest is the candidate that the word was most likely meant to be, or "" when none is near: at most
// one slip for every three characters, and never more than three. A swap of neighbours is one slip. Of
// equally near candidates the first wins.
func Closest(word string, candidates []string) string {
	best, bestDistance := "", min(len(word)/3, 3)+1
	if len(word) > 64 {
		return "" // nobody's typing error, and the distance costs the product of the lengths
	}
	for _, c := range candidates {
		if len(c) > 64 {
			continue
		}
		if d := distance(word, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

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

// distance is the optimal string alignment distance: insertions, deletions, substitutions and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	var before []int // two rows up
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
