package main

import (
	"context"
	"io"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Goal: a wrong command line or address is refused with what to write instead, and no password is shown.
// Method: a table of mistakes; none of them reaches a broker.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ args, url, want string }{
		{"", "", "say what to do"},
		{"prodcue", "", `"prodcue" is neither produce nor work`},
		{"produce --burts 3", "", "-burts"},
		{"produce --length 2", "", "a time has a unit: 2s, 500ms"},
		{"produce --length -2s", "", "can be negative"},
		{"produce 100", "", `"100" is too much`},
		{"work 3", "", `"3" is too much`},
		{"work", "amqp://user:pass word@host/", "AMQP_URL is no broker's address"},
		{"produce", "http://user:password@host/", "AMQP_URL is no broker's address"},
	} {
		err := run(context.Background(), strings.Fields(tt.args), settings{url: tt.url, queue: "sleep", out: io.Discard})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "pass") {
			t.Errorf("%q at %q: got %v, want %q and no password", tt.args, tt.url, err, tt.want)
		}
	}
}

// Goal: a worker waits for a broker that is away, and ends when the broker refuses it. Method: errors of
// the library, as real brokers cause them.
func TestAway(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{io.EOF, true},
		{amqp.ErrClosed, true},
		{&amqp.Error{Code: amqp.ConnectionForced, Reason: "shutdown"}, true},
		{&amqp.Error{Code: amqp.FrameError, Reason: "connection reset by peer"}, true},
		{amqp.ErrCredentials, false},
		{amqp.ErrVhost, false},
		{&amqp.Error{Code: amqp.PreconditionFailed, Reason: "inequivalent arg 'durable'"}, false},
		{io.ErrShortWrite, false},
	} {
		if got := away(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}
