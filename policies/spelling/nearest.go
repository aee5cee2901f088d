package spelling

import "strings"

// wordMax bounds the words that are compared, in bytes: the distance costs the product of their lengths, and
// longer ones are nobody's slip of the finger.
const wordMax = 64

// changesMax is how many changes a slip of the finger is at most, in words that are long enough for them.
const changesMax = 3

// Nearest is the known name that a word most likely stands for: one that takes at most a change for each three
// letters, or one that it is the beginning of. Of several, the first that takes the fewest; "" if there is none.
func Nearest(word string, known []string) string {
	if len(word) > wordMax {
		return ""
	}
	limit := min(len(word)/3, changesMax)
	best, least := "", limit+1
	for _, k := range known {
		if len(k) > wordMax {
			continue
		}
		d := limit + 1
		if more := len(word) - len(k); -limit <= more && more <= limit {
			d = distance(word, k)
		}
		if limit > 0 && strings.HasPrefix(k, word) {
			d = min(d, limit) // half a name is no slip, but clear
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
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
