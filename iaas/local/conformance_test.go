//go:build linux

package local_test

import (
	"testing"
	"time"

	"github.com/nimbus-epu/epu"
	"github.com/nimbus-epu/epu/iaas"
	"github.com/nimbus-epu/epu/iaas/iaastest"
	"github.com/nimbus-epu/epu/iaas/local"
)

// Goal: local processes keep the port's promises.
// Method: the suite with real keepers and programs; waiting is for changes below the folder.
func TestConformance(t *testing.T) {
	iaastest.Run(t, func(t *testing.T) iaastest.Setup {
		opts := local.Options{Grace: time.Minute}
		c := newCloud(t, opts)
		return iaastest.Setup{
			Provider: c,
			Request: func(token epu.Token, least, most int) iaas.LaunchRequest {
				req := c.request(token, most, "idle")
				req.Min = least
				return req
			},
			Await: c.await,
			Wrong: func(req *iaas.LaunchRequest) {
				req.Image, req.Market = "/no/such/program", epu.Spot
				req.Vars = map[string]epu.Var{"SECRET": {From: "env:SECRET"}, "A=B": {Value: "x"}, local.EnvInstance: {Value: "x"}}
			},
			Reopen: func() iaas.Provider {
				again, err := local.New(c.dir, opts)
				if err != nil {
					t.Fatal(err)
				}
				return again
			},
		}
	})
}
