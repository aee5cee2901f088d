package actors

import "fmt"

// UnknownMessage is recorded when an actor receives a message that it has no case for.
type UnknownMessage struct {
	Actor string
	Type  string
}

func unknownMessage(tx *Tx, actor string, m any) {
	tx.d.host.Unknown(UnknownMessage{Actor: actor, Type: fmt.Sprintf("%T", m)})
}
