// Package systest is what system tests share: tests behind `//go:build system` that need a real program
// beside Go. Need says which one and how to get it, and StartRabbitMQ runs a broker. They are few, and each says what only it can show.
package systest
