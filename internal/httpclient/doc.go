// Package httpclient makes the HTTP clients with which EPU's programs ask servers that an operator named: directly,
// without a proxy of the environment, with bounded waits and sizes, and without following redirects.
//
// Start reading at New.
package httpclient
