// Package aws reads sensors at Amazon Web Services: the attributes of SQS queues and the statistics of
// CloudWatch metrics. It is the only package beside the EC2 driver that knows Amazon's library.
// Credentials come from the library's usual chain: environment, profiles, the machine's role.
package aws
