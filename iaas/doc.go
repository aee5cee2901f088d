// Package iaas holds the contract between EPU and whatever provides machines: Provider, its requests
// and answers, and which kinds of errors it may return. Adapters (local, sim, ec2) live below it and
// pass the suite in iaastest; faulty decorates any of them with faults; a dry-run decorator keeps
// writes from reaching a cloud. Nothing here retries: who repeats a call, and when, is the site's to say.
//
// Start reading at provider.go.
package iaas
