// Package rabbitmqtest runs a private RabbitMQ broker for tests and the demonstration: its node name, ports,
// folders, cookie and port mapper are nobody else's, so it disturbs no broker of the system and can be
// killed and started again on its data. It is no client and no part of EPU's programs.
//
// Start reading at New.
package rabbitmqtest
