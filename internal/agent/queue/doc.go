// Package queue is epu-agent's second task: beside a RabbitMQ broker it measures how much work waits and
// pushes it to a pool's sensors.
//
//	RabbitMQ ◀── broker (AMQP, management API) ◀── Agent ──▶ sender ──▶ nodes: SensorPush
//
// What it can't know it reports as unknown, never as 0: a lost connection, a queue that is not there, a
// permission that is missing. It only ever dials. config.go gathers the configuration, agent.go has the
// loop. Start reading at Agent.
package queue
