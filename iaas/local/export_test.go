//go:build linux

package local

import "github.com/nimbus-epu/epu/iaas"

// MakeOnly accepts a launch and goes no further, as a daemon that is killed right then.
func (p *Provider) MakeOnly(req iaas.LaunchRequest) error {
	_, err := p.make(p.hash(req.Token), req)
	return err
}
