//go:build linux

package html

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/result"
)

//go:embed page.tmpl
var pageText string

//go:embed style.css
var styleText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Style       template.CSS
	Looks       []swatch
	Name        string // of the scenarios
	Began       string
	Took        string
	Command     string
	Verdict     verdict
	Overview    *overview // nil for a single result
	Results     []section
	Environment []row
}

// swatch is a piece of a line as a target's are drawn.
type swatch struct {
	Look  int
	Shape string
}

// section is a result.
type section struct {
	ID       string
	Title    string
	About    string // its load
	Cost     string // in words
	Base     string // what ratios are to; "" with one target
	Valid    bool
	Partial  bool
	Failure  string
	Runs     int
	Faults   []fault
	Missed   []string
	Budgets  []budget
	Legend   []mark
	Headline table
	Bars     []bars
	Charts   []chart
	Ledger   []ledgerRow
	Silent   bool // no run has a ledger: the scenario sends nothing
	Notes    []fault
	Discards []fault
	Metrics  table
	Options  []row
}

// row is a name and its value.
type row struct{ Name, Value string }

// Write writes the report of a document. Nothing is written if it fails before the first byte.
func Write(w io.Writer, d *result.Document) error {
	var buf bytes.Buffer
	if err := pageTemplate.Execute(&buf, newPage(d)); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

func newPage(d *result.Document) page {
	all := newMarks(d)
	p := page{
		Style:       template.CSS(styleText), // ours, not the document's
		Began:       d.Began.UTC().Format("2 January 2006, 15:04 UTC"),
		Took:        spell(time.Duration(d.Seconds * float64(time.Second))),
		Command:     shell(d.Command),
		Verdict:     newVerdict(d),
		Overview:    newOverview(d, all),
		Environment: fields(d.Environment),
	}
	for i := range min(len(all), looks) {
		p.Looks = append(p.Looks, swatch{i, shapes[i%colours]})
	}
	var names []string
	for i, r := range d.Results {
		p.Results = append(p.Results, newSection(i, r, all))
		if len(names) == 0 || names[len(names)-1] != r.Scenario {
			names = append(names, r.Scenario)
		}
	}
	p.Name = strings.Join(names, ", ")
	return p
}

func newSection(i int, r *result.Result, all marks) section {
	s := section{
		ID: newSectionID(i), Title: r.Title, About: about(r), Cost: label(r.Cost), Valid: ranks(r), Partial: r.Partial, Failure: r.Failure,
		Runs: len(r.Runs), Missed: r.Missed, Budgets: budgetsOf(r), Options: fields(r.Options), Faults: faultsOf(r), Notes: notesOf(r), Discards: discardsOf(r),
	}
	for _, t := range r.Targets() {
		s.Legend = append(s.Legend, all.of(t))
	}
	if len(s.Legend) > 1 {
		s.Base = s.Legend[0].Name
	}
	s.Ledger, s.Silent = newLedger(r, all)
	if !s.Valid {
		return s
	}
	s.Headline, s.Metrics = headline(r, all), allMetrics(r, all)
	s.Bars = newBars(r, all)
	s.Charts = append(spectra(r, all), overTime(r, all)...)
	return s
}

// ranks says whether a result has numbers to compare by. Runs that are missing make none of those there wrong.
func ranks(r *result.Result) bool { return r.Valid && len(r.Summary) > 0 }

// about is the load of a result in a line.
func about(r *result.Result) string {
	o := r.Options
	parts := []string{result.Human("conns", float64(o.Conns)) + " connections"}
	switch {
	case o.Window > 0:
		parts = append(parts, fmt.Sprintf("closed loop of %d", o.Window))
	case o.Rate > 0:
		parts = append(parts, "open loop at "+result.Human("rate", o.Rate)+"/s")
	}
	if o.Groups > 1 {
		parts = append(parts, result.Human("groups", float64(o.Groups))+" groups")
	}
	parts = append(parts, o.LoopsText())
	if o.Size > 0 {
		parts = append(parts, fmt.Sprintf("payload %s", result.Human("size-B", float64(o.Size))))
	}
	if o.Duration > 0 {
		parts = append(parts, "measured for "+spell(o.Duration))
	}
	if o.Repeat > 0 {
		parts = append(parts, plural(o.Repeat, "repeat")+", targets in turns")
	}
	return strings.Join(parts, " · ")
}

// fields lists a struct's fields by their names in JSON, those that are zero left out. Suffixes of the names are units.
func fields(v any) (rows []row) {
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		f := s.Field(i)
		if f.IsZero() || !s.Type().Field(i).IsExported() {
			continue
		}
		name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			name = s.Type().Field(i).Name
		}
		text := fmt.Sprint(f.Interface())
		switch x := f.Interface().(type) {
		case time.Duration:
			name, text = strings.TrimSuffix(name, "_ns"), x.String()
		case []string:
			text = strings.Join(x, ", ")
		case uint64:
			if bare, ok := strings.CutSuffix(name, "_bytes"); ok {
				name, text = bare, result.Human("-B", float64(x))
			} else {
				text = result.Human("", float64(x))
			}
		case float64:
			if bare, ok := strings.CutSuffix(name, "_us"); ok {
				name, text = bare, result.Human("-ns", x*1000)
			} else {
				text = result.Human("", x)
			}
		}
		rows = append(rows, row{strings.ReplaceAll(name, "_", " "), text})
	}
	return rows
}

// shell is a command line that can be pasted into a shell.
func shell(args []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%"
	quoted := make([]string, len(args))
	for i, a := range args {
		if quoted[i] = a; a == "" || strings.Trim(a, plain) != "" {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// spell prints a duration for people: no more than two units.
func spell(d time.Duration) string {
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return result.Human("-ns", float64(d))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return result.Human("", float64(n)) + " " + what + "s"
}

func newSectionID(i int) string { return fmt.Sprintf("r%d", i+1) }
