package web

import (
	"crypto/sha256"
	"errors"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/actors/msg"
)

// repeatsMax is how many commands with an ID of the client's choice are remembered: the newest.
const repeatsMax = 10_000

// repeats knows which command an ID stands for, so that two commands never share one in the audit.
type repeats struct {
	mu     sync.Mutex // guards the rest: requests come at once
	known  map[string][sha256.Size]byte
	newest []string // IDs in the order they came; a ring once it is full
	next   int
}

// claim says that an ID stands for a command. It fails if it stands for another one.
func (r *repeats) claim(id string, body proto.Message) error {
	if isQuestion(body) {
		return nil // no audit knows of it
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return epu.E(epu.Invalid, "read the command", msg.NameOf(body), errors.New("its text is not UTF-8"))
	}
	sum := sha256.Sum256(append([]byte(msg.NameOf(body)+"\x00"), text...))
	r.mu.Lock()
	defer r.mu.Unlock()
	if had, ok := r.known[id]; ok {
		if had == sum {
			return nil
		}
		return &epu.Error{
			Kind: epu.Conflict, Op: "take a command", On: msg.NameOf(body), Err: errors.New("its id was used for another command: " + clip(id)),
			Try: "keep an id only to repeat the same command; leave it out, and the node makes one",
		}
	}
	if r.known == nil {
		r.known = map[string][sha256.Size]byte{}
	}
	if len(r.newest) < repeatsMax {
		r.newest = append(r.newest, id)
	} else {
		delete(r.known, r.newest[r.next])
		r.newest[r.next] = id
		r.next = (r.next + 1) % repeatsMax
	}
	r.known[id] = sum
	return nil
}

// isQuestion reports that a body changes nothing; questions end in Query.
func isQuestion(body proto.Message) bool { return strings.HasSuffix(msg.NameOf(body), "Query") }
