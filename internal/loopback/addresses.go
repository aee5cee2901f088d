package loopback

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
)

// Ports below those that the kernel gives to outgoing connections: while a node is down its workers go
// on dialling, and such a connection could take its port, or even be connected to itself.
const (
	portMin = 20000
	portMax = 32000
	tries   = 1000
)

// Addresses gives n different addresses that nobody listens on.
func Addresses(n int) ([]string, error) {
	var out []string
	for range tries {
		if len(out) == n {
			return out, nil
		}
		port, err := rand.Int(rand.Reader, big.NewInt(portMax-portMin))
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portMin+port.Int64()))
		if err != nil {
			continue
		}
		defer l.Close() // not before the others are found
		out = append(out, l.Addr().String())
	}
	return nil, errors.New("find a free port: there is none")
}
