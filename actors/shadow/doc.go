// Package shadow knows candidates that are evaluated beside a pool's policy: what is kept of one, when its decision
// differs from the one in force, and what people are told. Nothing of a candidate's decisions is carried out; when it is
// evaluated is the controller's business.
package shadow
