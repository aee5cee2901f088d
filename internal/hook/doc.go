// Package hook runs a pool's programs around its workers' lives, such as one that takes a worker off a
// load balancer. A program gets the worker in its environment and has a process group of its own, which
// is ended when the program is done or its time is over. When to run it, how often and what follows from
// it is the controller's business.
package hook
