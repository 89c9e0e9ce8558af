//go:build linux

package html

import (
	"fmt"
	"slices"

	"github.com/gatecast/gatecast/bench/result"
)

// Colours and shapes repeat after six; the second six are dashed and hollow. style.css has the colours: six that stay apart by at
// least 25 (CIE76) for people who see no red, no green or no blue. The letter says it to everybody.
const (
	colours = 6
	looks   = 2 * colours
)

// shapes are the marks on lines, as paths around a point.
var shapes = [colours]string{
	"m-3.5-1.5v3l2 2h3l2-2v-3l-2-2h-3z", // disc, nearly
	"m-3-3h6v6h-6z",                     // square
	"m0-4l4 7h-8z",                      // triangle
	"m0-4.5l4.5 4.5-4.5 4.5-4.5-4.5z",   // diamond
	"m0 4l4-7h-8z",                      // triangle upside down
	"m-3-4h6l-6 8h6z",                   // hourglass
}

// mark is how a target is shown everywhere in a page.
type mark struct {
	Name string
	Key  string // letter
	Look int    // class l0 to l11
}

func (m mark) shape() string { return shapes[m.Look%colours] }

// marks are those of a document's targets, in the order they appear.
type marks []mark

func newMarks(d *result.Document) (all marks) {
	for _, r := range d.Results {
		for _, name := range r.Targets() {
			if !slices.ContainsFunc(all, func(m mark) bool { return m.Name == name }) {
				all = append(all, mark{name, key(len(all)), len(all) % looks})
			}
		}
	}
	return all
}

// key is A to Z, then A2, B2, …
func key(i int) string {
	const letters = 26
	k := string(rune('A' + i%letters))
	if i >= letters {
		k += fmt.Sprint(i/letters + 1)
	}
	return k
}

func (all marks) of(name string) mark {
	i := slices.IndexFunc(all, func(m mark) bool { return m.Name == name })
	if i < 0 { // of a discarded run whose target has no other
		return mark{Name: name, Key: "?"}
	}
	return all[i]
}
