// Package versions keeps the versions of policies that the registry holds: which are kept, which one is in
// force, and which one a hash or its first digits mean.
//
// It is pure: a Book is a value, and what changes it gives another. It does not know what a policy is or
// whether it is sound: who stores a version has checked it.
//
//	Store    adds a version, or makes it the newest again, and forgets what is too old
//	Put      puts one in force for all pools that pin none
//	Find     what a hash or its first digits mean
//	Before   where a rollback leads
package versions
