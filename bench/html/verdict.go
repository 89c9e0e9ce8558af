//go:build linux

package html

import (
	"fmt"
	"strings"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
)

// verdict says whether the numbers below may be believed.
type verdict struct {
	Class  string // good, warn, bad
	Word   string // VALID, INVALID, PARTIAL, …
	Text   string
	Checks []check
	Faults []fault
	Missed []string
}

// check is one thing that was looked at.
type check struct {
	Class string // good, warn, bad, none
	Name  string
	Value string
}

// fault is something said of a run, or of all repeats of a target that say the same.
type fault struct {
	Where string // result; "" within its section
	Who   string // target
	When  string // repeats
	What  string
}

func newVerdict(d *result.Document) verdict {
	v := verdict{Missed: d.Missed}
	var sum ledger.Counts
	runs, discarded, ledgers, results := 0, 0, 0, len(d.Results)
	invalid := 0
	for _, r := range d.Results {
		runs, discarded = runs+len(r.Runs), discarded+len(r.Discarded)
		for _, run := range r.Runs {
			if run.Ledger != nil {
				sum, ledgers = sum.Plus(*run.Ledger), ledgers+1
			}
		}
		if !r.Valid {
			invalid++
		}
		for _, f := range faultsOf(r) {
			f.Where = r.Title
			v.Faults = append(v.Faults, f)
		}
	}
	switch {
	case runs == 0:
		v.Class, v.Word, v.Text = "bad", "NOTHING MEASURED", "No run was finished."
	case !d.Valid:
		v.Class, v.Word = "bad", "INVALID"
		v.Text = fmt.Sprintf("Invalid: %d of %s. No number of such a result means anything, so none is shown.",
			invalid, plural(results, "result"))
	case d.Partial:
		v.Class, v.Word = "warn", "PARTIAL"
		v.Text = "Ended before all runs were made. Those here are valid, but fewer than asked for."
	case len(d.Missed) > 0:
		v.Class, v.Word, v.Text = "warn", "THRESHOLD MISSED", "The runs are valid; a target was slower than allowed."
	default:
		v.Class, v.Word, v.Text = "good", "VALID", "Every run is valid."
	}
	if d.Partial && v.Word != "PARTIAL" {
		v.Word += " and PARTIAL"
		v.Text += " Ended before all runs were made."
	}
	v.Checks = append(balance(sum, ledgers, d.Valid), thresholds(d), check{"none", "runs", result.Human("", float64(runs))},
		check{"none", "runs discarded", result.Human("", float64(discarded))})
	return v
}

// balance is what the ledgers say in all.
func balance(c ledger.Counts, ledgers int, valid bool) []check {
	if ledgers == 0 {
		return []check{{"none", "messages", "none sent"}}
	}
	checks := []check{{"none", "messages delivered", result.Human("", float64(c.Delivered))}}
	for _, x := range []struct {
		name string
		n    int64
	}{
		{"lost", c.Lost}, {"duplicated", c.Duplicated}, {"out of order", c.Reordered}, {"in the wrong group", c.WrongGroup},
		{"from elsewhere", c.Foreign},
	} {
		class := "good"
		switch {
		case x.n > 0 && valid: // the scenario allows it: receivers that stop reading lose messages
			class = "warn"
		case x.n > 0:
			class = "bad"
		}
		checks = append(checks, check{class, x.name, result.Human("", float64(x.n))})
	}
	return checks
}

func thresholds(d *result.Document) check {
	for _, r := range d.Results {
		switch {
		case len(d.Missed) > 0:
			return check{"bad", "thresholds", fmt.Sprintf("%d missed", len(d.Missed))}
		case (r.Options.P99 > 0 || len(r.Budgets) > 0) && d.Valid:
			return check{"good", "thresholds", "met"}
		}
	}
	return check{"none", "thresholds", "none set"}
}

// faultsOf are the reasons why a result is invalid, repeats of one target that say the same together.
func faultsOf(r *result.Result) (faults []fault) {
	for _, run := range r.Runs {
		for _, what := range run.Faults {
			faults = addFault(faults, run, what)
		}
		for _, what := range run.Harness {
			faults = addFault(faults, run, "the harness: "+what)
		}
	}
	return faults
}

func notesOf(r *result.Result) (notes []fault) {
	for _, run := range r.Runs {
		for _, what := range run.Notes {
			notes = addFault(notes, run, what)
		}
	}
	return notes
}

// discardsOf are the runs that were made again, and why.
func discardsOf(r *result.Result) (discards []fault) {
	for _, run := range r.Discarded {
		why := append(append([]string(nil), run.Harness...), run.Faults...)
		discards = addFault(discards, run, strings.Join(why, "; "))
	}
	return discards
}

func addFault(faults []fault, run *result.Run, what string) []fault {
	for i, f := range faults {
		if f.Who == run.Target && f.What == what {
			faults[i].When = f.When + ", " + fmt.Sprint(run.Repeat)
			return faults
		}
	}
	return append(faults, fault{Who: run.Target, When: "repeat " + fmt.Sprint(run.Repeat), What: what})
}
