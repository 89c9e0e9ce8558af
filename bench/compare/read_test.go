//go:build linux

package compare

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

func TestReadRefuses(t *testing.T) {
	invalid := sample(1, 1)
	invalid.Results[0].Runs[1].Faults = []string{"3 of 1000 messages lost"}
	invalid.Results[0].Summarise()
	invalid.Conclude()
	harness := sample(1, 1)
	harness.Results[0].Runs[2].Harness = []string{"the generator fell behind"}
	text := func(d *result.Document) string {
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	twice := sample(1)
	twice.Results = append(twice.Results, twice.Results[0])
	for _, c := range []struct {
		name, text, want string
		invalid          bool
	}{
		{"no JSON", "BenchmarkX 1 2 ns/op", "is no result.json: invalid character", false},
		{"half a file", text(sample(1))[:300], "is no result.json: unexpected end", false},
		{"other JSON", `{"name": "gatecast"}`, `it has no "schema"`, false},
		{
			"another schema", `{"schema": "gatecast-bench/1", "results": {}}`,
			`"gatecast-bench/1", and this program reads "gatecast-bench/3"; measure again`, false,
		},
		{"a field of another type", `{"schema": "gatecast-bench/2", "results": 7}`, "is no result.json: json: cannot unmarshal", false},
		{"no result", `{"schema": "gatecast-bench/2", "results": [null]}`, "is damaged: result 1", false},
		{"no run", `{"schema": "gatecast-bench/2", "results": [{"runs": [null]}]}`, "is damaged: result 1", false},
		{"a title twice", text(twice), `is damaged: two results have the title "fanout, 500 connections"`, false},
		{"nothing in it", `{"schema": "gatecast-bench/2"}`, "nothing was measured", true},
		{"a fault of the target", text(invalid), "invalid: fanout, 500 connections: gatecast, repeat 1: 3 of 1000 messages lost", true},
		{"a fault of the harness", text(harness), "raw, repeat 2: the generator fell behind", true},
		{"not valid as a whole", strings.Replace(text(sample(1)), `"valid":true`, `"valid":false`, 1), "invalid", true},
	} {
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(path)
		var invalid *InvalidError
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) ||
			errors.As(err, &invalid) != c.invalid {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestReadTakesDirectories(t *testing.T) {
	d, err := Read(filepath.Dir(save(t, sample(1, 1))))
	if err != nil || len(d.Results) != 1 || len(d.Results[0].Runs) != 4 {
		t.Errorf("Read = %+v, %v", d, err)
	}
}

// FuzzDecode: whatever is in a file, comparing it with itself ends in an error or in a table.
func FuzzDecode(f *testing.F) {
	raw, err := json.Marshal(sample(1.1, 1.2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := decode(raw)
		if err != nil || Check(d) != nil {
			return
		}
		_ = table(io.Discard, d, d, true)
		_, _ = judge(io.Discard, d, d, gateOptions{})
	})
}
