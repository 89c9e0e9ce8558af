// Package authntest holds what tests of verifiers and of their users need: [Run], the conformance suite that every
// verifier passes, and [Fake], a verifier that answers as told.
package authntest
