// Package sensor has the commands `epumgmt sensor ...`: list shows what pools' sensors read, with the last
// hour as a line of little bars, and push brings readings in from scripts and by hand. The program around
// it says how a node is asked. Start reading at command.go.
package sensor
