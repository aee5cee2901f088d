package actortest

import "github.com/nimbus-epu/epu/persistence"

func memoryMeta() persistence.Meta {
	return persistence.Meta{Installation: "campaign", Epoch: 1, Created: epoch}
}
