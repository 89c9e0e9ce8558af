//go:build linux

package compare

import (
	"bytes"
	"errors"
	"flag"
	"regexp"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

// run runs compare over documents and returns what it printed.
func run(t *testing.T, args []string, docs ...*result.Document) (out string, code int, err error) {
	t.Helper()
	for _, d := range docs {
		args = append(args, save(t, d))
	}
	var stdout, stderr bytes.Buffer
	code, err = Run(args, &stdout, &stderr)
	return regexp.MustCompile(` {2,}`).ReplaceAllString(stdout.String(), "  "), code, err
}

func TestCompare(t *testing.T) {
	more := sample(around(1.1, 5)...)
	more.Results[0].Options.Rate = 40
	more.Environment.CPU = "another"
	other := sample(around(1.1, 5)...)
	other.Results[0].Title = "another title"
	both := sample(around(1.1, 5)...)
	both.Results = append(both.Results, other.Results[0])
	swapped := sample(around(1.1, 5)...)
	swapped.Results[0].Runs[0], swapped.Results[0].Runs[1] = swapped.Results[0].Runs[1], swapped.Results[0].Runs[0]
	gone := sample(around(1.1, 5)...)
	for _, run := range gone.Results[0].Runs {
		if run.Target == "gatecast" {
			run.Target = "ws"
		}
	}
	partial := sample(around(1.1, 5)...)
	partial.Results[0].Partial = true
	for _, c := range []struct {
		name string
		args []string
		docs []*result.Document
		want []string
		not  []string
	}{
		{
			"a clear change", nil, []*result.Document{sample(around(1.5, 5)...), sample(around(1.2, 5)...)},
			[]string{
				"server/delivery  1.50 µs  1.20 µs  -20.0 % better p=0.008  1.50×  1.20×  -20.0 % better p=0.008",
				"deliveries/s  13,333  16,665  +25.0 % better p=0.008",
			},
			[]string{"fds", "repeats on both sides"},
		},
		{
			"no change", nil, []*result.Document{sample(around(1.2, 7)...), sample(around(1.2, 7)...)},
			[]string{"1.20 µs  1.20 µs  ~ p=1.00  "}, nil,
		},
		{
			"too few repeats", nil, []*result.Document{sample(around(1.5, 3)...), sample(around(1.2, 3)...)},
			[]string{"~ 3 and 3 repeats, 4 needed", "Fewer than 4 repeats on both sides show nothing"}, nil,
		},
		{
			"a change that may be noise", nil,
			[]*result.Document{sample(1.1, 1.2, 1.3, 1.4, 1.5), sample(1.25, 1.28, 1.35, 1.45, 1.55)},
			[]string{"1.30×  1.35×  ~ p=0.55, 67 repeats"}, nil,
		},
		{
			"all metrics", []string{"-all"}, []*result.Document{sample(around(1.2, 5)...), sample(around(1.2, 5)...)},
			[]string{"fds  512  512  ~ p=1.00", "comparisons: about 1 of them differ by chance alone"}, nil,
		},
		{
			"another load on another machine", nil, []*result.Document{sample(around(1.1, 5)...), more},
			[]string{"WARNING: not the same load: rate 20 and 40", "note: the processor differs,  and another: go by the ratios"}, nil,
		},
		{
			"results that only one has", nil, []*result.Document{both, sample(around(1.1, 5)...)},
			[]string{"only in old: another title"}, []string{"only in new"},
		},
		{
			"another first target", nil, []*result.Document{sample(around(1.1, 5)...), swapped},
			[]string{"ratios are to raw in old and to gatecast in new, so there are none here"}, []string{"ratio to", "×"},
		},
		{
			"another target", nil, []*result.Document{sample(around(1.1, 5)...), gone},
			[]string{"gatecast: only in old", "ws: only in new"}, nil,
		},
		{
			"interrupted", nil, []*result.Document{sample(around(1.1, 5)...), partial}, []string{"PARTIAL"}, nil,
		},
	} {
		out, code, err := run(t, c.args, c.docs...)
		if code != 0 || err != nil {
			t.Errorf("%s: code %d, %v", c.name, code, err)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, out)
			}
		}
		for _, not := range c.not {
			if strings.Contains(out, not) {
				t.Errorf("%s: %q in\n%s", c.name, not, out)
			}
		}
	}
}

func TestCompareSeveral(t *testing.T) {
	out, _, err := run(t, nil, sample(around(1.5, 5)...), sample(around(1.2, 5)...), sample(around(1.8, 5)...))
	better, worse := strings.Contains(out, "-20.0 % better"), strings.Contains(out, "+20.0 % worse")
	if err != nil || strings.Count(out, "(old) and") != 2 || !better || !worse {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCompareRefuses(t *testing.T) {
	invalid := sample(1, 1)
	invalid.Results[0].Runs[0].Faults = []string{"1 of 10 messages lost"}
	other := sample(1, 1)
	other.Results[0].Title = "another"
	for _, c := range []struct {
		name string
		args []string
		docs []*result.Document
		code int
		want string
	}{
		{"one document", nil, []*result.Document{sample(1)}, 3, "needs two documents"},
		{"an invalid one", nil, []*result.Document{sample(1, 1), invalid}, 2, "1 of 10 messages lost"},
		{"nothing in common", nil, []*result.Document{sample(1, 1), other}, 3, "no result in common"},
		{"no such file", []string{"/nowhere/a.json"}, []*result.Document{sample(1)}, 3, "/nowhere/a.json"},
		{"no such flag", []string{"-what"}, nil, 3, "-what"},
	} {
		if _, code, err := run(t, c.args, c.docs...); code != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: code %d, %v; want %d, %q", c.name, code, err, c.code, c.want)
		}
	}
	if _, _, err := run(t, []string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}
