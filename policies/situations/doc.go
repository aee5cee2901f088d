// Package situations makes up pools in which a policy is tried out before it meets a real one: empty,
// growing, busy, idle, failing, with good readings, old ones and none. It knows nouns and decides
// nothing.
package situations
