package epu

import (
	"strconv"
	"strings"
	"time"
)

// Plural counts things in words: 1 worker, 2 workers.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// Span writes a duration without empty parts: 5m rather than 5m0s, and 1h rather than 1h0m0s.
func Span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
