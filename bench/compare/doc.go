// Package compare says whether two measurements differ. It reads documents of package result, puts results of the same title and
// targets beside each other, and asks for every metric whether the repeats of one lie so far from those of the other that chance
// is no explanation (Mann and Whitney's U, exact).
//
// What one machine measured on one day cannot be compared with another's, but a ratio to raw, of two runs made one after the
// other, can: so both are shown, and [Gate] looks at ratios only.
//
//	read.go      file ─► Document, refused unless it is one and valid
//	match.go     results of the same title; the loads must be alike
//	stats.go     the test, and how many repeats it would need
//	compare.go   the command compare: a table
//	gate.go      the command gate: a new measurement against a baseline, for CI
package compare
