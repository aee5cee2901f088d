package actors

import (
	"sync"

	"github.com/nimbus-epu/epu/persistence"
)

// subscriberMax bounds what a slow subscriber may lag behind; past it the oldest records are dropped.
const subscriberMax = 1024

// Bus hands life-cycle events, decisions and audit records to whoever watches. It is not an actor's
// state: the mutex guards the list of subscribers, which come and go with connections.
type Bus struct {
	mu   sync.Mutex
	subs map[chan persistence.Record]struct{}
}

// Subscribe begins a subscription. The records come in order; cancel ends it and closes the channel.
func (b *Bus) Subscribe() (records <-chan persistence.Record, cancel func()) {
	ch := make(chan persistence.Record, subscriberMax)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan persistence.Record]struct{}{}
	}
	b.subs[ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[ch]; ok {
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// Publish gives a record to every subscriber without waiting for any.
func (b *Bus) Publish(r persistence.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		for sent := false; !sent; {
			select {
			case ch <- r:
				sent = true
			default:
				select { // full: the oldest goes
				case <-ch:
				default:
				}
			}
		}
	}
}
