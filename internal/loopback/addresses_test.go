package loopback_test

import (
	"net"
	"testing"

	"github.com/nimbus-epu/epu/internal/loopback"
)

// Goal: the addresses differ and can be listened on. Method: ask for a few, and listen on all of them.
func TestAddresses(t *testing.T) {
	addresses, err := loopback.Addresses(5)
	if err != nil || len(addresses) != 5 {
		t.Fatalf("got %v, %v, want five", addresses, err)
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Fatalf("listen on %s: %v", a, err)
		}
		defer l.Close()
	}
}
