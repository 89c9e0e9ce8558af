// Package html writes a [result.Document] as report.html: one file that needs nothing else, no script and no network, for light and
// dark screens, phones and paper.
//
// The flow of [Write]:
//
//	page.go      Document ─► page: what the template shows, every number already in words
//	verdict.go   may the numbers be believed? what was lost, missed, discarded
//	budgets.go   what a target was allowed to cost, and did
//	table.go     headline table, all metrics, ledger
//	bars.go      costs against the first target, whose line is drawn through
//	lines.go     percentile spectra; what happened second by second
//	chart.go     lines ─► SVG: axes, paths, labels that do not meet
//	mark.go      the letter, colour, dash and shape of a target, the same in the whole page
//
// A result that is not valid shows its faults and its ledger, and no number that could be ranked by.
package html
