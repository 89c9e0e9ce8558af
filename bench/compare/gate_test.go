//go:build linux

package compare

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

func TestGate(t *testing.T) {
	rate := sample(around(1.1, 7)...)
	rate.Results[0].Options.Rate = 99
	other := sample(around(1.1, 7)...)
	other.Results[0].Title = "another"
	partial := sample(around(1.1, 7)...)
	partial.Partial = true
	invalid := sample(around(1.1, 7)...)
	invalid.Results[0].Runs[3].Faults = []string{"1 of 9 messages lost"}
	alone := sample(around(1.1, 7)...)
	alone.Results[0].Runs = alone.Results[0].Runs[:1]
	wide := []float64{1.0, 1.5, 1.1, 1.6, 1.2, 1.7, 1.9}
	ten := GateOptions{Tolerance: 0.1}
	for _, c := range []struct {
		name    string
		old     *result.Document
		now     *result.Document
		o       GateOptions
		missed  string
		err     string
		invalid bool
	}{
		{"the same", sample(around(1.1, 7)...), sample(around(1.1, 7)...), ten, "", "", false},
		{"better", sample(around(1.5, 7)...), sample(around(1.1, 7)...), ten, "", "", false},
		{"worse, within the tolerance", sample(around(1.1, 7)...), sample(around(1.19, 7)...), ten, "", "", false},
		{
			"worse", sample(around(1.1, 7)...), sample(around(1.3, 7)...), ten,
			"fanout, 500 connections: gatecast: server/delivery is 1.30× that of raw, in the baseline 1.10×: " +
				"18.2 % worse, allowed 10 % (p=0.001, 7 and 7 pairs)",
			"", false,
		},
		{
			"worse, and a smaller tolerance", sample(around(1.1, 7)...), sample(around(1.19, 7)...), GateOptions{Tolerance: 0.05},
			"8.2 % worse, allowed 5 %", "", false,
		},
		{"worse by chance", sample(1.2, 1.1, 1.7, 1.0, 1.3, 1.8, 1.2), sample(wide...), ten, "", "", false},
		{ // of both targets
			"a lower rate", sample(around(1.1, 7)...), sample(around(1.3, 7)...), GateOptions{0.1, "deliveries/s", nil},
			"", "", false,
		},
		{"a baseline of 3 is enough for 7", sample(around(1.1, 3)...), sample(around(1.3, 7)...), ten, "3 and 7 pairs", "", false},
		{
			"a baseline of 1", sample(1.1), sample(around(1.3, 7)...), ten,
			"", "too few to tell anything by; measure it with -repeat 7", true,
		},
		{
			"too few new pairs", sample(around(1.1, 7)...), sample(around(1.3, 6)...), ten,
			"", "6 pairs of raw and gatecast; a gate needs 7 (-repeat 7)", true,
		},
		{
			"only that target", sample(around(1.1, 7)...), sample(around(1.3, 7)...), GateOptions{0.1, "", []string{"gatecast"}},
			"gatecast", "", false,
		},
		{
			"no such target", sample(around(1.1, 7)...), sample(around(1.3, 7)...), GateOptions{0.1, "", []string{"ws"}},
			"", "no cost with a target ws", false,
		},
		{
			"no such metric", sample(around(1.1, 7)...), sample(around(1.3, 7)...), GateOptions{0.1, "p99", nil},
			"", "no p99 of two targets", false,
		},
		{"one target", alone, sample(around(1.3, 7)...), ten, "", "a gate needs a first one, such as raw", false},
		{"another load", sample(around(1.1, 7)...), rate, ten, "", "not the load of the baseline: rate 20 and 99", false},
		{"another result", sample(around(1.1, 7)...), other, ten, "", `no "fanout, 500 connections"`, false},
		{"partial", sample(around(1.1, 7)...), partial, ten, "", "the new result is partial", true},
		{
			"invalid baseline", invalid, sample(around(1.1, 7)...), ten,
			"", "the baseline: invalid: fanout, 500 connections: gatecast, repeat 2: 1 of 9", true,
		},
	} {
		missed, err := Gate(c.old, c.now, c.o)
		var invalid *InvalidError
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || errors.As(err, &invalid) != c.invalid {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.missed == "" && len(missed) > 0,
			c.missed != "" && (len(missed) != 1 || !strings.Contains(missed[0], c.missed)):
			t.Errorf("%s: missed %q, want %q", c.name, missed, c.missed)
		}
	}
}

func TestRunGate(t *testing.T) {
	good, bad := sample(around(1.1, 7)...), sample(around(1.3, 7)...)
	unsure := sample(1.0, 1.5, 1.1, 1.6, 1.25, 1.7, 1.9)
	broken := errors.New("no raw here")
	measured := func(d *result.Document, err error) Measure {
		return func(_ context.Context, baseline *result.Document) (*result.Document, error) {
			if len(baseline.Results) != 1 {
				t.Errorf("measure got the baseline %+v", baseline)
			}
			return d, err
		}
	}
	baseline := save(t, good)
	for _, c := range []struct {
		name    string
		args    []string
		measure Measure
		code    int
		out     string
		err     string
	}{
		{"a good file", []string{"-baseline", baseline, save(t, good)}, nil, 0, "ok     fanout", ""},
		{"a bad file", []string{"-baseline", baseline, save(t, bad)}, nil, 1, "MISSED fanout, 500 connections: gatecast", ""},
		{"a bad file that is tolerated", []string{"-baseline", baseline, "-tolerance", "0.25", save(t, bad)}, nil, 0, "ok ", ""},
		{"measured", []string{"-baseline", baseline}, measured(bad, nil), 1, "MISSED", ""},
		{"measured with noise", []string{"-baseline", baseline}, measured(unsure, nil), 0, "unsure", ""},
		{"measured in vain", []string{"-baseline", baseline}, measured(nil, broken), 3, "", "no raw here"},
		{"too few repeats", []string{"-baseline", baseline}, measured(sample(1.1), nil), 2, "", "a gate needs 7"},
		{"cannot measure", []string{"-baseline", baseline}, nil, 3, "", "give it the new result"},
		{"no baseline", nil, nil, 3, "", "needs a baseline"},
		{"two results", []string{"-baseline", baseline, "a", "b"}, nil, 3, "", `unexpected argument "b"`},
		{"a wrong tolerance", []string{"-baseline", baseline, "-tolerance", "some"}, nil, 3, "", `"some" is no share; write 10% or 0.1`},
		{"a negative tolerance", []string{"-baseline", baseline, "-tolerance", "-3%"}, nil, 3, "", "is no share"},
		{"no such file", []string{"-baseline", "/nowhere.json"}, nil, 3, "", "/nowhere.json"},
	} {
		var stdout, stderr bytes.Buffer
		code, err := RunGate(t.Context(), c.args, c.measure, &stdout, &stderr)
		text := ""
		if err != nil {
			text = err.Error()
		}
		out := stdout.String()
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(text, c.err) || (c.err == "") != (err == nil) {
			t.Errorf("%s: code %d, %q, %v; want %d, %q, %q",
				c.name, code, out, err, c.code, c.out, c.err)
		}
	}
}
