// Package shape holds the tests of what this repository looks like: who may import whom, one package comment each,
// formatted files, no sleeping tests, a small main, generated files that are up to date. It has no code outside them.
package shape
