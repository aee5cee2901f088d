// Package iaastest is the suite that every iaas.Provider passes: the sentences of the port's comments
// as tests. It works on virtual clocks and on real processes alike, since the provider's own test says
// how to wait: Setup.Await moves a clock or blocks until something happened, and never sleeps.
//
//	func TestProvider(t *testing.T) { iaastest.Run(t, func(t *testing.T) iaastest.Setup { ... }) }
//
// Start reading at suite.go.
package iaastest
