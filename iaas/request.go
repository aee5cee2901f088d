package iaas

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nimbus-epu/epu"
)

// tokenLengthMax is the longest token that every cloud takes.
const tokenLengthMax = 64

// Problems reports everything about the request that is wrong whatever the cloud, all at once. An
// adapter adds what only it can know.
func (r LaunchRequest) Problems() []Problem {
	var ps []Problem
	if !validToken(r.Token) {
		ps = append(ps, Problem{
			Subject: fmt.Sprintf("token %q", r.Token),
			Text:    "is not 1 to 64 characters of A-Z, a-z, 0-9 and -",
			Try:     "shorten the pool's name or use plain characters",
		})
	}
	if r.Min < 1 || r.Max < r.Min {
		ps = append(ps, Problem{
			Subject: fmt.Sprintf("min %d, max %d", r.Min, r.Max),
			Text:    "a launch asks for at least one machine, and for no fewer at most than at least",
		})
	}
	if r.Image == "" {
		ps = append(ps, Problem{Subject: "image", Text: "is empty", Try: "name an image for this site in the deployable type"})
	}
	return ps
}

// Digest is the hex SHA-256 of the request's JSON. Requests with equal digests are the same request.
func (r LaunchRequest) Digest() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("a launch request is plain data and always has a JSON form: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Refusal turns problems into one error of kind Invalid about a launch, or nil when there are none.
func Refusal(token epu.Token, ps []Problem) error {
	if len(ps) == 0 {
		return nil
	}
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Subject + " " + p.Text
	}
	e := epu.E(epu.Invalid, "launch", string(token), errors.New(strings.Join(texts, "; ")))
	e.Try = ps[0].Try
	return e
}

// Matches reports that the machine is one that the request selects.
func (r ListRequest) Matches(in Instance) bool {
	if len(r.IDs) > 0 {
		for _, id := range r.IDs {
			if id == in.ID {
				return true
			}
		}
		return false
	}
	for k, v := range r.Tags {
		if got, ok := in.Tags[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func validToken(t epu.Token) bool {
	if len(t) < 1 || len(t) > tokenLengthMax {
		return false
	}
	for _, c := range []byte(t) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
