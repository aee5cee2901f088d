// Package golden holds what a test got against a file in the tree. Tests have their own flag -rewrite.
package golden
