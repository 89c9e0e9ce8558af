//go:build linux

package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// result.json is kept in repositories, so it has what cannot be made again from the rest, in as many digits as mean something:
//
//   - numbers that are compared have five digits that count, the others four;
//   - a run's metrics are two objects, name to value: those that are compared, and the others;
//   - a spectrum is a list of nanoseconds, whose percentiles follow from their places (see points);
//   - the summary has only what is compared. Whoever reads the file with this package has all of it.
//
// Files of schema 2, which spelt all that out, are read too.

// schemaBefore is the schema that is read too.
const schemaBefore = "gatecast-bench/2"

// Encode writes the document as result.json, a run a line.
func Encode(w io.Writer, d *Document) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = w.Write(breakLines(raw))
	return err
}

// Decode reads a result.json.
func Decode(raw []byte) (*Document, error) {
	// The schema first: the rest of another one's fields would be the wrong complaint.
	var head struct{ Schema string }
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("is no result.json: %w", err)
	}
	switch head.Schema {
	case Schema, schemaBefore:
	case "":
		return nil, errors.New(`is no result.json: it has no "schema"`)
	default:
		return nil, fmt.Errorf("has the schema %q, and this program reads %q; measure again, or use the version that wrote it", head.Schema, Schema)
	}
	d := new(Document)
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("is no result.json: %w", err)
	}
	d.Schema = Schema
	return d, nil
}

// breakDepth is how deep each element has a line of its own: document, results, result, runs.
const breakDepth = 4

// breakLines lays compact JSON out for people and for diffs.
func breakLines(raw []byte) []byte {
	var out bytes.Buffer
	depth, quoted := 0, false
	line := func() {
		out.WriteByte('\n')
		for range depth {
			out.WriteByte(' ')
		}
	}
	for i, c := range raw {
		switch {
		case quoted:
			quoted = c != '"' || escaped(raw[:i])
		case c == '"':
			quoted = true
		case c == '}' || c == ']':
			empty := raw[i-1] == '{' || raw[i-1] == '['
			if depth--; depth < breakDepth && !empty {
				line()
			}
		}
		out.WriteByte(c)
		if quoted {
			continue
		}
		switch c {
		case '{', '[':
			if depth++; depth <= breakDepth && raw[i+1] != '}' && raw[i+1] != ']' {
				line()
			}
		case ',':
			if depth <= breakDepth {
				line()
			}
		}
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// escaped tells whether what follows b within a string is escaped.
func escaped(b []byte) bool {
	return (len(b)-len(bytes.TrimRight(b, `\`)))%2 == 1
}

// runFields is Run without its methods.
type runFields Run

// runFile is a run as it stands in the file; its fields hide those of the same name.
type runFile struct {
	*runFields
	Compared numbers  `json:"compared"`
	Metrics  numbers  `json:"metrics"`
	Series   []Second `json:"series,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (r *Run) MarshalJSON() ([]byte, error) {
	f := runFile{runFields: (*runFields)(r), Series: slices.Clone(r.Series)}
	for _, m := range r.Metrics {
		if m.Compare {
			f.Compared = append(f.Compared, m)
		} else {
			f.Metrics = append(f.Metrics, m)
		}
	}
	for i := range f.Series {
		s := &f.Series[i]
		s.At, s.CPU = round(s.At, 4), round(s.CPU, 4)
		s.P50, s.P99, s.Max = roundInt(s.P50), roundInt(s.P99), roundInt(s.Max)
	}
	return json.Marshal(&f)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Run) UnmarshalJSON(raw []byte) error {
	f := runFile{runFields: (*runFields)(r)}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	for i := range f.Compared {
		f.Compared[i].Compare = true
	}
	r.Metrics, r.Series = slices.Concat(f.Compared, f.Metrics), f.Series
	return nil
}

// numbers are metrics as one object, in their order. A list of them, as schema 2 has it, is read too.
type numbers []Metric

// MarshalJSON implements [json.Marshaler].
func (n numbers) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range n {
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		digits := 4
		if m.Compare {
			digits = 5
		}
		value, err := json.Marshal(round(m.Value, digits))
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", m.Name, err)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *numbers) UnmarshalJSON(raw []byte) error {
	if raw[0] != '{' {
		return json.Unmarshal(raw, (*[]Metric)(n))
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return err
	}
	for *n = nil; d.More(); {
		name, err := d.Token()
		if err != nil {
			return err
		}
		m := Metric{Name: name.(string)} // it is a key
		if err := d.Decode(&m.Value); err != nil {
			return fmt.Errorf("metric %s: %w", m.Name, err)
		}
		*n = append(*n, m)
	}
	return nil
}

// spectrumFile is a spectrum as it stands in the file: one of both lists.
type spectrumFile struct {
	Name   string  `json:"name"`
	NS     []int64 `json:"ns,omitempty"`
	Points []Point `json:"points,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (s Spectrum) MarshalJSON() ([]byte, error) {
	f := spectrumFile{Name: s.Name}
	for i, p := range s.Points {
		if want := percentile(i, len(s.Points)); math.Abs(p.Percentile-want) > 1e-9 {
			return json.Marshal(spectrumFile{Name: s.Name, Points: s.Points})
		}
		f.NS = append(f.NS, roundInt(p.NS))
	}
	return json.Marshal(f)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Spectrum) UnmarshalJSON(raw []byte) error {
	var f spectrumFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	s.Name, s.Points = f.Name, f.Points
	for i, ns := range f.NS {
		s.Points = append(s.Points, Point{percentile(i, len(f.NS)), ns})
	}
	return nil
}

// resultFields is Result without its methods.
type resultFields Result

// resultFile is a result as it stands in the file.
type resultFile struct {
	*resultFields
	Summary []Stat `json:"summary"`
}

// MarshalJSON implements [json.Marshaler].
func (r *Result) MarshalJSON() ([]byte, error) {
	f := resultFile{resultFields: (*resultFields)(r), Summary: []Stat{}}
	for _, s := range r.Summary {
		if !s.Compare {
			continue
		}
		for _, v := range []*float64{&s.Median, &s.Min, &s.Max, &s.Ratio, &s.RatioMin, &s.RatioMax} {
			*v = round(*v, 5)
		}
		s.Compare = false // goes without saying
		f.Summary = append(f.Summary, s)
	}
	return json.Marshal(&f)
}

// UnmarshalJSON implements [json.Unmarshaler]. The summary is made again of the runs.
func (r *Result) UnmarshalJSON(raw []byte) error {
	f := resultFile{resultFields: (*resultFields)(r)}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	if r.Summary = f.Summary; r.Valid && !slices.Contains(r.Runs, nil) {
		r.Summary = r.stats()
	}
	return nil
}

// round keeps so many digits that count.
func round(v float64, digits int) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return short
}

func roundInt(v int64) int64 { return int64(round(float64(v), 4)) }
