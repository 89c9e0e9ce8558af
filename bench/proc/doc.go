// Package proc reads what processes cost from /proc: CPU in nanoseconds, memory, descriptors, context switches. Whole
// processes, so that the figures hold for any server in any language.
package proc
