// Package ledger proves that a run lost nothing: every payload carries a [Stamp], every receiver's arrivals are checked in a
// [Ledger], and the balance at the end counts what was lost, duplicated, reordered or delivered to the wrong group.
package ledger
