// Package crew is the receivers of a run: clients that connect, join their groups, and enter what arrives into a ledger and
// histograms. A [Crew] may live in this process ([Open]) or be spread over others; what comes back is a [Tally] in either case.
package crew
