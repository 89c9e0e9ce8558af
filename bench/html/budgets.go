//go:build linux

package html

import "github.com/gatecast/gatecast/bench/result"

// budget is a bound that a result was to keep, and whether it did.
type budget struct {
	ID, Number string // of the result; "" in its own section
	What       string
	Class      string // good, bad, none
	Word       string // kept, missed, not judged
	Is, Range  string
	Most       string
}

// budgetsOf judges the budgets of a result. An invalid one has no numbers to judge by.
func budgetsOf(r *result.Result) (all []budget) {
	for _, b := range r.Budgets {
		row := budget{
			What: label(b.Metric) + " of " + b.Target, Class: "none", Word: "not judged", Is: "–", Most: result.Human(b.Metric, b.Value),
		}
		if b.Ratio > 0 {
			row.Most = times(b.Ratio)
			if t := r.Targets(); len(t) > 0 {
				row.Most += " of " + t[0]
			}
		}
		if ranks(r) {
			row.judge(b, r)
		}
		all = append(all, row)
	}
	return all
}

func (row *budget) judge(b result.Budget, r *result.Result) {
	row.Class, row.Word = "bad", "missed"
	held, is := b.Held(r)
	if held {
		row.Class, row.Word = "good", "kept"
	}
	row.Is = is
	s, ok := r.Stat(b.Target, b.Metric)
	if !ok {
		return
	}
	c := cellOf(s, true, true)
	if b.Ratio > 0 {
		c = ratioOf(s, false)
	}
	row.Is, row.Range = c.Value, c.Range
}
