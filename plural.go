package epu

import "strconv"

// Plural counts things in words: 1 worker, 2 workers.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
