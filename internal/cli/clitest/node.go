package clitest

import (
	"context"

	"github.com/nimbus-epu/epu/internal/relay"
)

// Serve makes a router a node that listens on loopback, and gives its address. It ends with the test or script whose
// clean-up is given.
func Serve(router relay.Router, opts relay.Options, cleanup func(func())) (address string, err error) {
	l, err := relay.Listen(context.Background(), "127.0.0.1:0", relay.Protection{})
	if err != nil {
		return "", err
	}
	s := relay.NewServer(router, opts)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody is waited for
		s.Stop(ctx)
		<-served
	})
	return l.Addr().String(), nil
}
