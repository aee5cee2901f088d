// Package scripts holds files that programs carry with them: the Lua policies. It decides nothing and
// imports nothing but the embedding.
//
//	policies/*.lua        the stock decision engines, one file each
//	policies/*_test.lua   their tests
//	policies/lib/*.lua    what they share
//
// Start reading at policies/npreserving.lua.
package scripts
