// Command epumgmt is the operator's program: it asks nodes about pools and tells them what to change.
package main
