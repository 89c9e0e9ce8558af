// Package plan says which groups a run has, who is in them, and where publications go. A plan is pure: every process of a run
// computes the same from the same few numbers.
package plan
