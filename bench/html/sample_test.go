//go:build linux

package html

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
)

// sampleTargets are servers as a suite has them: how much slower than raw, and how much larger.
var sampleTargets = []struct {
	name, version string
	slow, large   float64
}{
	{"raw", "", 1, 1},
	{"raw-batch", "", 0.7, 1},
	{"gatecast", "v0.9.2-14-gfb288d2", 1.12, 2.6},
	{"gatecast-http", "v0.9.2-14-gfb288d2", 1.16, 2.6},
	{"nats-websocket", "2.15.2", 1.9, 5.4},
	{"centrifuge", "v0.38.0", 2.4, 11.2},
	{"nchan", "1.3.7 (nginx 1.22.1)", 2.9, 3.1},
	{"django-channels-daphne-redis", "channels 4.3.1, daphne 4.2.1", 48, 22},
	{"django-channels-uvicorn", "channels 4.3.1, uvicorn 0.38.0", 31, 19},
	{"socket.io", "4.8.1 (node 20.19.2)", 9.5, 14},
	{"ws", "8.18.3 (node 20.19.2)", 5.1, 9},
	{"anycable-with-a-very-long-name-indeed", "1.6.5", 4.2, 8},
}

// sampleTitles are the results of a suite.
var sampleTitles = []struct{ scenario, title, cost string }{
	{"fanout", "fanout, 1,000 connections, open loop at 20/s", "server-ns/delivery"},
	{"connect", "connect, 5,000 logins", "server-ns/handshake"},
	{"idle", "idle, 5,000 connections", "rss-B/conn"},
	{"groups", "groups, 1,000 groups of 10", "server-ns/delivery"},
	{"echo", "echo, 200 connections", "server-ns/message"},
	{"fanout", "fanout, 500 connections", "server-ns/delivery"},
}

// sample is a document as a suite makes it: the same one each time.
func sample(results, targets, repeats int) *result.Document {
	d := &result.Document{
		Schema:  result.Schema,
		Command: []string{"gatecast", "bench", "suite", "-target", "raw,raw-batch,gatecast", "-note", "it's a sample"},
		Began:   time.Date(2026, 11, 22, 19, 30, 0, 0, time.UTC), Seconds: 1543.2,
		Environment: result.Environment{
			Commit: "fb288d2c0a1b", Go: "go1.26.8", Kernel: "6.1.0-38-amd64", CPU: "AMD EPYC 7B13", CPUs: 2, Memory: 16 << 30,
			Files: 1 << 20, Load: "0.31 0.42 0.40", Noise999: 1.4, NoiseMax: 512,
		},
	}
	source := rand.New(rand.NewPCG(1, 2))
	for i := range results {
		s := sampleTitles[i%len(sampleTitles)]
		r := &result.Result{Scenario: s.scenario, Title: s.title, Cost: s.cost, Options: result.Options{
			Conns: 1000, Groups: 1, PerConn: 1, Rate: 20, Size: 100, Nodes: 1, Procs: 1, Loops: 2, Login: "jwt", Warmup: time.Second,
			Duration: 20 * time.Second, Repeat: repeats, Retries: 1, Patience: 5 * time.Second,
		}}
		for _, t := range sampleTargets[:targets] {
			r.Options.Targets = append(r.Options.Targets, t.name)
		}
		for repeat := 1; repeat <= repeats; repeat++ {
			for t := range targets {
				r.Runs = append(r.Runs, sampleRun(source, s.scenario, s.cost, t, repeat))
			}
		}
		r.Summarise()
		d.Results = append(d.Results, r)
	}
	d.Conclude()
	return d
}

func sampleRun(source *rand.Rand, scenario, cost string, target, repeat int) *result.Run {
	t := sampleTargets[target]
	noise := func() float64 { return 1 + source.NormFloat64()*0.03 }
	run := &result.Run{Target: t.name, Version: t.version, Repeat: repeat, Faults: []string{}, Harness: []string{}, Notes: []string{}}
	cpu, rss := 1450*t.slow*noise(), 2900*t.large*noise()
	if scenario == "idle" {
		run.Compare("rss-B/conn", rss)
		run.Add("anon-B/conn", rss*0.9)
		run.Compare("server-ns/conn/s", 220*t.slow*noise())
		run.Add("rss-B", rss*5000)
		run.Add("fds", 5012)
		return run
	}
	run.Compare(cost, cpu)
	run.Add("server-user-ns"+cost[len("server-ns"):], cpu*0.2)
	run.Add("server-system-ns"+cost[len("server-ns"):], cpu*0.8)
	run.Add("harness-ns"+cost[len("server-ns"):], 1100*noise())
	run.Compare("deliveries/s", 20_000*noise())
	base := 2e5 * t.slow
	latency := func(name string, factor float64, compare bool) {
		const n = 20_000
		most := 0.0
		at := func(p float64) float64 { // nearly exponential, with a tail that all share
			v := base * factor * (0.4 - math.Log(1-p)) * (1 + source.Float64()*0.02)
			if p > 0.998 {
				v += 8e6 * -math.Log((1-p)/0.002) * (1 + source.Float64()*0.2)
			}
			most = max(most, v)
			return most
		}
		spectrum := result.Spectrum{Name: name}
		for k := 0; math.Pow(2, -float64(k)/4)*n >= 1; k++ {
			p := 1 - math.Pow(2, -float64(k)/4)
			spectrum.Points = append(spectrum.Points, result.Point{Percentile: 100 * p, NS: int64(at(p))})
		}
		spectrum.Points = append(spectrum.Points, result.Point{Percentile: 100, NS: int64(most * 1.2)})
		run.Spectra = append(run.Spectra, spectrum)
		for i, q := range []string{"p50", "p90", "p99", "p99.9", "max"} {
			m := result.Metric{Name: name + "-" + q + "-ns", Value: float64(spectrum.Points[i*len(spectrum.Points)/5].NS)}
			m.Compare = compare && (q == "p50" || q == "p99")
			run.Metrics = append(run.Metrics, m)
		}
	}
	latency("response", 1, true)
	latency("service", 0.95, false)
	latency("first", 0.1, false)
	latency("median", 1, false)
	latency("last", 2, true)
	run.Add("switches/delivery", 0.013*noise())
	run.Add("rss-B", 14e6+rss*1000)
	run.Add("slab-B/conn", 3800*noise())
	run.Add("fds", 1012)
	run.Ledger = &ledger.Counts{Expected: 400_000, Delivered: 400_000}
	for s := -1; s < 20; s++ {
		p50 := base * (1 + 0.2*math.Sin(float64(s))) * noise()
		p99 := p50 * (4 + source.ExpFloat64())
		run.Series = append(run.Series, result.Second{
			At: float64(s), Delivered: int64(20_000 * noise()), P50: int64(p50), P99: int64(p99), Max: int64(p99 * 2),
			CPU: min(2, 0.029*t.slow*noise()), RSS: int64(14e6 + rss*1000*(1+0.01*float64(s))), Conns: 1000,
		})
	}
	return run
}

// allow gives a document's results budgets: one that is kept, one that is missed, one of what nobody measured, one of a value.
func allow(d *result.Document) {
	d.Results[0].Budgets = []result.Budget{
		{Target: "gatecast", Metric: "server-ns/delivery", Ratio: 1.25}, {Target: "gatecast", Metric: "last-p99-ns", Ratio: 1.05},
		{Target: "gatecast", Metric: "during/before", Ratio: 1.2},
	}
	for _, r := range d.Results[1:] {
		r.Budgets = []result.Budget{{Target: "gatecast", Metric: "rss-B/conn", Value: 10_000}}
	}
	for _, r := range d.Results {
		r.Summarise()
	}
	d.Conclude()
}

// spoil makes a document's second result invalid, and the last partial.
func spoil(d *result.Document) *result.Document {
	r := d.Results[1]
	for i, run := range r.Runs {
		if run.Target == r.Runs[len(r.Runs)-1].Target {
			run.Ledger.Lost, run.Ledger.Delivered = 12, run.Ledger.Expected-12
			run.Faults = run.Ledger.Faults()
		}
		if i == 1 {
			run.Harness = []string{"the generator fell behind: p99 of its lag is 4.1ms, allowed 1ms"}
		}
	}
	r.Discarded = []*result.Run{{Target: r.Runs[0].Target, Repeat: 2, Harness: []string{"the harness needed 94 % of a core"}}}
	r.Runs[0].Notes = []string{"stalled: nothing arrived for 612ms although messages were due"}
	r.Summarise()
	last := d.Results[len(d.Results)-1]
	last.Partial = true
	last.Runs = last.Runs[:len(last.Runs)-1]
	last.Summarise()
	d.Conclude()
	return d
}

// samples are documents that look different.
func samples() map[string]*result.Document {
	one := sample(1, 3, 5)
	one.Results[0].Options.P99 = time.Millisecond
	one.Results[0].Missed = []string{one.Results[0].Title + ": gatecast: p99 of the response is 1.2ms, the threshold 1ms"}
	one.Conclude()
	suite, spoiled := sample(3, 12, 3), sample(3, 5, 3)
	allow(suite)
	allow(spoiled)
	spoil(spoiled)
	return map[string]*result.Document{
		"suite":   suite,
		"one":     one,
		"invalid": spoiled,
	}
}
