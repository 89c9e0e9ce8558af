// Package dev is the verifier of -dev: two users, alice and bob, with tokens made at start. The tokens are [Verifier.Tokens];
// they are good as long as the process lives. It is never part of a chain without -dev.
package dev
