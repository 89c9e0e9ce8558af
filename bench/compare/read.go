//go:build linux

package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/result"
)

// InvalidError says why a document proves nothing, though it was read.
type InvalidError struct{ Text string }

func (e *InvalidError) Error() string { return e.Text }

// Read reads the document in a file, or in the result.json of a directory. One that is not valid is an [InvalidError].
func Read(path string) (*result.Document, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "result.json")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := Check(d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func decode(raw []byte) (*result.Document, error) {
	d, err := result.Decode(raw)
	if err != nil {
		return nil, err
	}
	var titles []string
	for i, r := range d.Results {
		switch {
		case r == nil || slices.Contains(r.Runs, nil):
			return nil, fmt.Errorf("is damaged: result %d has no runs where there should be some", i+1)
		case slices.Contains(titles, r.Title):
			return nil, fmt.Errorf("is damaged: two results have the title %q", r.Title)
		}
		titles = append(titles, r.Title)
	}
	return d, nil
}

// Check returns an [InvalidError] for a document that cannot be compared with.
func Check(d *result.Document) error {
	if len(d.Results) == 0 {
		return &InvalidError{"nothing was measured"}
	}
	for _, r := range d.Results {
		for _, run := range r.Runs {
			if faults := slices.Concat(run.Faults, run.Harness); len(faults) > 0 {
				return &InvalidError{fmt.Sprintf("invalid: %s: %s, repeat %d: %s", r.Title, run.Target, run.Repeat, strings.Join(faults, "; "))}
			}
		}
		if !r.Valid || len(r.Runs) == 0 {
			return &InvalidError{fmt.Sprintf("invalid: %s", r.Title)}
		}
	}
	if !d.Valid {
		return &InvalidError{"invalid"}
	}
	return nil
}
