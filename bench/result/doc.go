// Package result is what a command measured, as it stands in result.json: a [Document] has a [Result] for each scenario, that has
// a [Run] for each time a target was measured and a [Stat] for each of its metrics. An invalid result has no summaries:
// there is nothing to rank by.
package result
