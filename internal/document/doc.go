// Package document writes answers for machines: one line of JSON with the schema's version, the type, and
// then the fields of the message in actors/msg. Command lines and HTTP share it, so that a script may
// change from one to the other without reading anything anew. The form is a contract, additive only.
//
// Start with Encode and Failure.
package document
